"""What a listing says when keepers die, pids are reused, machines restart and folders are broken or foreign."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.backends.base import BackendError, Phase
from sampan_hub.backends.local import LocalBackend
from sampan_hub.backends.local.shim import procfs
from tests.contract.local_jobs import LocalJobs, processes_of, python, until


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[LocalJobs]:
    rig = LocalJobs(tmp_path / "jobs")
    yield rig
    await rig.close()


def _started(jobs: LocalJobs, job_id: str) -> dict[str, Any]:
    record = json.loads((jobs.folder(job_id) / "started.json").read_text())
    assert isinstance(record, dict)
    return record


def _rewrite(jobs: LocalJobs, job_id: str, **changes: Any) -> None:
    record = {**_started(jobs, job_id), **changes}
    (jobs.folder(job_id) / "started.json").write_text(json.dumps(record))


async def _kill_keeper(jobs: LocalJobs, job_id: str) -> int:
    """Kill -9 a job's keeper; the pid of the job's main process."""
    record = _started(jobs, job_id)
    os.kill(record["keeper_pid"], signal.SIGKILL)
    keeper = procfs.Process(record["keeper_pid"], record["keeper_start_ticks"])
    await until(lambda: not procfs.is_alive(keeper), "the keeper is gone")
    return int(record["pid"])


async def test_a_job_whose_keeper_was_killed_still_runs_and_can_be_stopped(jobs: LocalJobs) -> None:
    job_id = await jobs.start()
    await _kill_keeper(jobs, job_id)
    jobs.reopen()
    listing = await jobs.backend.observe()
    (seen,) = listing.jobs
    assert seen.phase is Phase.RUNNING
    assert seen.reason is not None
    assert seen.reason.code == "keeper-lost"
    assert any(job_id in leftover for leftover in listing.leftovers)
    await jobs.backend.cancel([job_id])
    ended = await jobs.until_ended(job_id)
    assert processes_of(job_id) == []
    assert ended.exit is not None
    assert ended.exit.code is None
    assert ended.reason is not None
    assert ended.reason.code == "keeper-lost"


async def test_a_deaf_job_without_keeper_is_killed_by_a_repeated_stop(jobs: LocalJobs) -> None:
    job_id = await jobs.start(
        python("import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\nwhile 1: signal.pause()")
    )
    await jobs.until_output(job_id, "up")
    await _kill_keeper(jobs, job_id)
    while processes_of(job_id):
        await jobs.backend.cancel([job_id])
    assert (await jobs.until_ended(job_id)).phase is Phase.ENDED


async def test_an_orphan_of_a_job_without_keeper_keeps_it_running(jobs: LocalJobs) -> None:
    code = "import os, time\nif os.fork() == 0:\n os.setsid()\n print('up', flush=True)\ntime.sleep(1000)"
    job_id = await jobs.start(python(code))
    await jobs.until_output(job_id, "up")
    main = await _kill_keeper(jobs, job_id)
    os.kill(main, signal.SIGKILL)
    await until(lambda: len(processes_of(job_id)) == 1, "the main process is gone")
    seen = await jobs.see(job_id)
    assert seen is not None
    assert seen.phase is Phase.RUNNING
    await jobs.backend.cancel([job_id])
    await jobs.until_ended(job_id)
    assert processes_of(job_id) == []


async def test_a_job_cannot_pass_its_processes_off_as_anothers(jobs: LocalJobs) -> None:
    """With the keeper gone processes are found by their mark; a living keeper's processes are never taken."""
    victim = await jobs.start(("true",))
    mask = await jobs.start()
    liar = await jobs.start(("sh", "-c", f"SAMPAN_JOB={mask} sleep 1000 & echo up; wait"))
    await jobs.until_output(liar, "up")
    await jobs.until_ended(victim)
    await _kill_keeper(jobs, mask)
    await jobs.backend.cancel([mask])
    await jobs.until_ended(mask)
    seen = await jobs.see(liar)
    assert seen is not None
    assert seen.phase is Phase.RUNNING
    assert len(processes_of(mask)) == 1  # the liar's, still there
    await jobs.backend.cancel([liar])
    await jobs.until_ended(liar)


async def test_an_end_that_nobody_recorded_is_written_down_once(jobs: LocalJobs) -> None:
    job_id = await jobs.start()
    main = await _kill_keeper(jobs, job_id)
    os.kill(main, signal.SIGKILL)
    ended = await jobs.until_ended(job_id)
    jobs.reopen()
    assert await jobs.see(job_id) == ended
    assert (jobs.folder(job_id) / "ended.json").exists()
    assert not (jobs.folder(job_id) / "private").exists()


async def test_a_reused_pid_is_not_the_job_and_is_never_signalled(jobs: LocalJobs) -> None:
    job_id = await jobs.start()
    main = await _kill_keeper(jobs, job_id)
    os.kill(main, signal.SIGKILL)
    await until(lambda: processes_of(job_id) == [], "the job is gone")
    stranger = await jobs.start()
    (stranger_pid,) = processes_of(stranger)
    _rewrite(jobs, job_id, pid=stranger_pid, keeper_pid=stranger_pid)
    await jobs.backend.cancel([job_id])
    seen = await jobs.see(job_id)
    assert seen is not None
    assert seen.phase is Phase.ENDED
    assert processes_of(stranger) == [stranger_pid]


async def test_another_boot_ends_everything_with_that_reason(jobs: LocalJobs) -> None:
    job_id = await jobs.start()
    (pid,) = processes_of(job_id)
    original = _started(jobs, job_id)
    _rewrite(jobs, job_id, boot_id="another boot")
    seen = await jobs.see(job_id)
    assert seen is not None
    assert seen.reason is not None
    assert seen.reason.code == "reboot"
    assert seen.phase is Phase.ENDED
    await jobs.backend.cancel([job_id])
    assert processes_of(job_id) == [pid]  # nothing of this boot is signalled for it
    _rewrite(jobs, job_id, **original)
    (jobs.folder(job_id) / "ended.json").unlink(missing_ok=True)
    os.kill(original["keeper_pid"], signal.SIGTERM)
    await until(lambda: processes_of(job_id) == [], "the keeper ends it")


@pytest.mark.parametrize("name", ["identity.json", "started.json", "ended.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"x" * (2 << 20), None])
async def test_one_corrupt_folder_is_one_unknown_job(jobs: LocalJobs, name: str, content: bytes | None) -> None:
    healthy = await jobs.start()
    broken = await jobs.start(("true",))
    await jobs.until_ended(broken)
    jobs.reopen()
    (jobs.folder(broken) / name).unlink()
    if content is None:
        (jobs.folder(broken) / name).symlink_to("/etc/passwd")
    else:
        (jobs.folder(broken) / name).write_bytes(content)
    listing = await jobs.backend.observe()
    phases = {job.job_id: job.phase for job in listing.jobs}
    assert phases == {healthy: Phase.RUNNING, broken: Phase.UNKNOWN}
    assert any(broken in leftover for leftover in listing.leftovers)
    assert not any("root:" in leftover for leftover in listing.leftovers)


async def test_a_fifo_in_place_of_a_record_holds_nobody_up(jobs: LocalJobs) -> None:
    job_id = await jobs.start(("true",))
    await jobs.until_ended(job_id)
    jobs.reopen()
    (jobs.folder(job_id) / "ended.json").unlink()
    os.mkfifo(jobs.folder(job_id) / "ended.json")
    seen = await jobs.see(job_id)
    assert seen is not None
    assert seen.phase is Phase.UNKNOWN


async def test_another_jobs_identity_is_not_believed(jobs: LocalJobs) -> None:
    first, second = await jobs.start(), await jobs.start()
    shutil.copy(jobs.folder(first) / "identity.json", jobs.folder(second) / "identity.json")
    seen = await jobs.see(second)
    assert seen is not None
    assert seen.phase is Phase.UNKNOWN
    assert seen.identity is None


async def test_what_is_not_ours_is_reported_and_left_alone(jobs: LocalJobs, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    linked = f"{jobs.instance}.aaaaaaaaaaaaaaaa"
    (jobs.root / linked).symlink_to(outside)
    (jobs.root / "zzzzzzzz.aaaaaaaaaaaaaaaa").mkdir()
    (jobs.root / "notes.txt").write_text("x")
    listing = await jobs.backend.observe()
    assert listing.jobs == ()
    assert len(listing.leftovers) == 3
    await jobs.backend.cancel([linked, "zzzzzzzz.aaaaaaaaaaaaaaaa"])
    await jobs.backend.forget([linked, "zzzzzzzz.aaaaaaaaaaaaaaaa"])
    assert [path.name for path in outside.iterdir()] == ["keep"]
    assert (jobs.root / "zzzzzzzz.aaaaaaaaaaaaaaaa").is_dir()


async def test_a_root_that_cannot_be_read_is_an_error_and_not_an_empty_listing(jobs: LocalJobs) -> None:
    job_id = await jobs.start()
    hidden = jobs.root.with_name("hidden")
    jobs.root.rename(hidden)
    with pytest.raises(BackendError, match="cannot be read"):
        await jobs.backend.observe()
    with pytest.raises(BackendError, match="cannot be read"):
        await jobs.backend.capacity()
    hidden.rename(jobs.root)
    assert await jobs.see(job_id) is not None


async def test_ended_jobs_cost_no_reading(jobs: LocalJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await jobs.start(("true",))
    ended = await jobs.until_ended(job_id)
    for number in range(1000):
        digits = "".join("abcdefghij"[int(digit)] for digit in f"{number:016d}")
        copy = jobs.root / f"{jobs.instance}.{digits}"
        shutil.copytree(jobs.folder(job_id), copy)
        identity = json.loads((copy / "identity.json").read_text())
        (copy / "identity.json").write_text(json.dumps({**identity, "job_id": copy.name}))
    first = await jobs.backend.observe()
    assert len(first.jobs) == 1001
    assert {job.phase for job in first.jobs} == {Phase.ENDED}

    def unread(*_: object) -> None:
        raise AssertionError("an ended job was read again")

    monkeypatch.setattr("sampan_hub.backends.local.listing.look_at", unread)
    assert (await jobs.backend.observe()).jobs == first.jobs
    assert ended in first.jobs


async def test_two_services_see_the_same(jobs: LocalJobs) -> None:
    job_id = await jobs.start()
    other = LocalBackend("local", jobs.root, jobs.instance, cores_milli=1000, memory_bytes=1 << 30)
    assert (await other.observe()).jobs == (await jobs.backend.observe()).jobs
    await other.cancel([job_id])
    assert (await jobs.until_ended(job_id)).reason is not None
