"""A job starts at most once, whoever submits it, how often, and wherever a submitter or keeper is killed."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.backends.base import BackendError, JobSpec, Phase
from sampan_hub.backends.local import LocalBackend, folders, launcher
from sampan_hub.backends.local.shim import files
from sampan_hub.backends.local.submitting import Submitter
from tests.contract.local_jobs import LocalJobs, processes_of, until
from tests.support.small_disk import may_mount, run_as_namespace_root, small_disk

KILLED_SUBMITTER = """
import asyncio, os, pickle, signal, sys
from pathlib import Path
from sampan_hub.backends.local import LocalBackend

root, at, pickled = sys.argv[1], int(sys.argv[2]), sys.argv[3]
instance, specs = pickle.loads(bytes.fromhex(pickled))
backend = LocalBackend("local", Path(root), instance, cores_milli=64000, memory_bytes=1 << 36)
count = 0

def step(event, arguments):
    global count
    if event == "subprocess.Popen" or any(isinstance(a, str) and a.startswith(root) for a in arguments):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
asyncio.run(backend.submit(specs))
"""
"""Every file and process that a submit makes is a step; this one is killed just before the given one."""

KILLED_KEEPER = """
import os, signal, sys
shim, note, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
launcher, count = os.getpid(), 0
STEPS = {"open", "flock", "fork", "setsid", "write", "rename", "unlink", "waitpid", "chdir", "execve"}

def step(frame, event, called):
    global count
    if event != "c_call" or called.__name__ not in STEPS or os.getpid() == launcher:
        return
    count += 1
    if count == at:
        os.close(os.open(note, os.O_CREAT | os.O_WRONLY))
        os.kill(os.getpid(), signal.SIGKILL)

sys.path.insert(0, os.path.dirname(shim))
from shim.launch import main
sys.setprofile(step)
main()
"""
"""What others can see of a keeper, and of its child before that is the job, are steps; it is killed before one."""


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[LocalJobs]:
    rig = LocalJobs(tmp_path / "jobs")
    yield rig
    await rig.close()


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """Where a job that `_counting` made leaves one line for each time it starts."""
    return tmp_path / "starts"


def _counting(jobs: LocalJobs, starts: Path) -> JobSpec:
    return jobs.spec(("sh", "-c", f'echo "$$" >> {starts}; exec sleep 1000'))


def _publish(jobs: LocalJobs, specs: list[JobSpec]) -> None:
    """What a submitter had done that was killed before it started keepers."""
    Submitter(jobs.root, jobs.instance, 1.0, None).publish_all(specs)


def _forget(starts: Path) -> None:
    starts.unlink(missing_ok=True)


def _is_there(path: Path) -> bool:
    return path.exists()


def _count(starts: Path) -> int:
    return len(starts.read_text().splitlines()) if starts.exists() else 0


async def test_a_second_submit_starts_nothing(jobs: LocalJobs, starts: Path) -> None:
    spec = _counting(jobs, starts)
    for _ in range(3):
        assert (await jobs.backend.submit([spec, spec])).accepted == {spec.job_id}
        jobs.reopen()
    await until(lambda: _count(starts) == 1, "it started")
    await jobs.backend.cancel([spec.job_id])
    await jobs.until_ended(spec.job_id)
    assert (await jobs.backend.submit([spec])).accepted == {spec.job_id}
    assert _count(starts) == 1
    assert processes_of(spec.job_id) == []


async def test_services_that_submit_at_the_same_time_start_one(jobs: LocalJobs, starts: Path) -> None:
    spec = _counting(jobs, starts)
    services = [
        LocalBackend("local", jobs.root, jobs.instance, cores_milli=64_000, memory_bytes=1 << 36) for _ in range(6)
    ]
    answers = await asyncio.gather(*(service.submit([spec]) for service in services))
    assert {answer.accepted for answer in answers} == {frozenset({spec.job_id})}
    await until(lambda: _count(starts) == 1, "it started")
    assert len(processes_of(spec.job_id)) == 1
    assert sorted(path.name for path in jobs.root.iterdir()) == [spec.job_id]


async def test_a_submitter_killed_at_any_step(jobs: LocalJobs, starts: Path) -> None:
    """Whatever it had done: nothing or one job runs, and a repeated submit makes it exactly one."""
    for at in range(1, 100):
        _forget(starts)
        spec = _counting(jobs, starts)
        pickled = pickle.dumps((jobs.instance, [spec])).hex()
        command = [sys.executable, "-c", KILLED_SUBMITTER, str(jobs.root), str(at), pickled]
        killed = await asyncio.to_thread(subprocess.run, command)
        assert (await jobs.see(spec.job_id)) is None or _count(starts) <= 1
        assert (await jobs.backend.submit([spec])).accepted == {spec.job_id}
        await until(lambda: _count(starts) >= 1, "it started")
        assert len(processes_of(spec.job_id)) == 1
        await jobs.backend.cancel([spec.job_id])
        await jobs.until_ended(spec.job_id)
        assert _count(starts) == 1
        if killed.returncode == 0:
            assert at >= 8, "the submit has more steps than that: the injection does not work"
            return
    pytest.fail("the submit never completed")


async def _until_started_or_gone(jobs: LocalJobs, job_id: str, starts: Path) -> None:
    """Until it has run its first line, or the backend says why it never will."""
    deadline = time.monotonic() + 20
    while _count(starts) == 0 and (seen := await jobs.see(job_id)) is not None and seen.phase is not Phase.ENDED:
        assert time.monotonic() < deadline, f"it neither started nor ended: {seen}"
        await asyncio.sleep(0.02)


def _keep_killed_at(jobs: LocalJobs, job_id: str, note: Path, at: int) -> None:
    request = {"root": str(jobs.root), "keys": [job_id], "deadline": 1e12}
    command = [sys.executable, "-I", "-S", "-c", KILLED_KEEPER, str(launcher.SHIM), str(note), str(at)]
    subprocess.run(command, input=json.dumps(request).encode(), check=True, capture_output=True)


async def test_a_keeper_killed_at_any_step(jobs: LocalJobs, starts: Path, tmp_path: Path) -> None:
    """The job starts at most once; it is told as ended, or a repeated submit starts it."""
    outcomes = set()
    for at in range(1, 300):
        _forget(starts)
        spec, note = _counting(jobs, starts), tmp_path / f"killed-{at}"
        _publish(jobs, [spec])
        _keep_killed_at(jobs, spec.job_id, note, at)
        assert (await jobs.backend.submit([spec])).accepted == {spec.job_id}
        seen = await jobs.see(spec.job_id)
        assert seen is not None
        if seen.phase is not Phase.ENDED:
            await _until_started_or_gone(jobs, spec.job_id, starts)
        assert len(processes_of(spec.job_id)) <= 1
        while (ended := await jobs.see(spec.job_id)) is None or ended.phase is not Phase.ENDED:
            await jobs.backend.cancel([spec.job_id])  # repeated, as the planner does: this keeper may die stopping it
        assert _count(starts) <= 1
        assert processes_of(spec.job_id) == []
        assert ended.reason is not None
        outcomes.add((ended.reason.code, _count(starts)))
        if not _is_there(note):
            assert {("stopped", 1), ("keeper-lost", 0), ("keeper-lost", 1)} <= outcomes
            return
    pytest.fail("no keeper ever survived its steps")


async def test_a_folder_whose_keeper_never_came_is_not_shown_and_can_be_resumed(jobs: LocalJobs) -> None:
    spec = jobs.spec()
    _publish(jobs, [spec])
    listing = await jobs.backend.observe()
    assert listing.jobs == ()
    assert listing.leftovers == ()  # a call may be out
    os.utime(jobs.folder(spec.job_id), (0, 0))
    assert spec.job_id in (await jobs.backend.observe()).leftovers[0]
    assert (await jobs.backend.submit([spec])).accepted == {spec.job_id}
    assert len(processes_of(spec.job_id)) == 1


async def test_a_job_stopped_before_its_keeper_came_never_starts(jobs: LocalJobs, starts: Path) -> None:
    spec = _counting(jobs, starts)
    _publish(jobs, [spec])
    await jobs.backend.cancel([spec.job_id])
    assert (await jobs.backend.submit([spec])).accepted == {spec.job_id}
    ended = await jobs.until_ended(spec.job_id)
    assert ended.reason is not None
    assert ended.reason.code == "stopped"
    assert _count(starts) == 0


async def test_a_stop_that_comes_while_the_keeper_starts_is_kept(jobs: LocalJobs, starts: Path) -> None:
    spec = _counting(jobs, starts)
    _publish(jobs, [spec])
    lock = files.take_lock(jobs.folder(spec.job_id))
    assert lock is not None
    seen = await jobs.see(spec.job_id)
    assert seen is not None
    assert seen.phase is Phase.QUEUED
    await jobs.backend.cancel([spec.job_id])
    os.close(lock)
    await jobs.backend.submit([spec])
    assert (await jobs.until_ended(spec.job_id)).phase is Phase.ENDED
    assert _count(starts) == 0


async def test_after_the_deadline_of_its_submit_nothing_starts(jobs: LocalJobs) -> None:
    spec = jobs.spec()
    _publish(jobs, [spec])
    answers = launcher.launch(jobs.root, [spec.job_id], timeout_s=5)
    assert answers == {spec.job_id: None}
    late = jobs.spec()
    _publish(jobs, [late])
    request = {"root": str(jobs.root), "keys": [late.job_id], "deadline": 0}
    command = [sys.executable, "-I", "-S", str(launcher.SHIM)]
    run = await asyncio.to_thread(subprocess.run, command, input=json.dumps(request).encode(), capture_output=True)
    assert json.loads(run.stdout)["problem"] == "its time to start was over"
    assert await jobs.see(late.job_id) is None


async def test_a_call_that_was_given_up_starts_nothing_more(jobs: LocalJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while its folders are written: they stay for a repeated submit, and nothing runs."""
    reached, go_on = threading.Event(), threading.Event()
    real = folders.publish

    def slow(*arguments: Any) -> bool:
        reached.set()
        assert go_on.wait(20)
        return real(*arguments)

    monkeypatch.setattr(folders, "publish", slow)
    spec = jobs.spec()
    call = asyncio.create_task(jobs.backend.submit([spec]))
    await asyncio.to_thread(reached.wait, 20)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    await until(lambda: _is_there(jobs.folder(spec.job_id)), "the thread goes on to where it looks")
    assert await jobs.see(spec.job_id) is None
    monkeypatch.undo()
    assert (await jobs.backend.submit([spec])).accepted == {spec.job_id}


async def test_400_jobs_at_once_in_seconds_without_holding_up_the_service(jobs: LocalJobs) -> None:
    specs = [jobs.spec() for _ in range(400)]
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest_s = max(longest_s, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    begun = time.monotonic()
    submitted = await jobs.backend.submit(specs)
    took_s = time.monotonic() - begun
    assert len((await jobs.backend.observe()).jobs) == len(submitted.accepted) == 400
    await jobs.backend.cancel([spec.job_id for spec in specs])
    await jobs.close()
    watching.cancel()
    assert took_s < 20, took_s  # about 2 s on an idle machine of two cores
    assert longest_s < 1, longest_s


async def test_a_failed_preparation_leaves_nothing(jobs: LocalJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third job's folder does not fit: the first two are neither there nor started."""
    real, calls = folders.prepare, []

    def full_at_third(*arguments: object) -> Path:
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folders, "prepare", full_at_third)
    with pytest.raises(BackendError, match="No space left"):
        await jobs.backend.submit([jobs.spec() for _ in range(5)])
    assert list(jobs.root.iterdir()) == []


async def test_a_full_disk_refuses_new_jobs_and_still_records_ends(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not may_mount():
        await asyncio.to_thread(run_as_namespace_root, request.node.nodeid)
        return
    with small_disk(tmp_path / "disk", "256k") as disk:
        jobs = LocalJobs(disk / "jobs")
        running = await jobs.start(("sh", "-c", "yes 0123456789 | head -c 2000000; exec sleep 1000"))
        await until(lambda: shutil.disk_usage(disk).free < 4096, "the job's own output fills the disk")
        with pytest.raises(BackendError, match="No space left"):
            await jobs.backend.submit([jobs.spec() for _ in range(3)])
        assert [path.name for path in jobs.root.iterdir()] == [running]
        os.kill(processes_of(running)[0], signal.SIGKILL)
        ended = await jobs.until_ended(running)
        assert ended.exit is not None
        assert ended.exit.signal == signal.SIGKILL
        await jobs.close()
