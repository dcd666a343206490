"""A stop ends the whole tree: what left the session, what was orphaned, what ignores signals, what forks on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan_hub.backends.base import Phase
from tests.contract.local_jobs import LocalJobs, processes_of, python, until

DAEMON = """
import os, signal, sys, time
def daemon(ignore):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if ignore:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(1, b"up\\n")
            while True:
                time.sleep(1)
        os._exit(0)
"""


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[LocalJobs]:
    rig = LocalJobs(tmp_path / "jobs")
    yield rig
    await rig.close()


async def _stop(jobs: LocalJobs, job_id: str) -> None:
    await jobs.backend.cancel([job_id])
    await jobs.until_ended(job_id)
    assert processes_of(job_id) == []  # at once: `ended` is only said of a tree that is gone


async def test_sessions_of_their_own_and_daemons_end_with_the_job(jobs: LocalJobs) -> None:
    job_id = await jobs.start(python(DAEMON + "daemon(False); daemon(True)\nwhile True: time.sleep(1)"))
    await jobs.until_output(job_id, "up\nup")
    assert len(processes_of(job_id)) == 3
    await _stop(jobs, job_id)


async def test_what_a_job_leaves_behind_ends_with_it(jobs: LocalJobs) -> None:
    job_id = await jobs.start(python(DAEMON + "daemon(True); time.sleep(0.2); sys.exit(7)"))
    ended = await jobs.until_ended(job_id)
    assert processes_of(job_id) == []
    assert ended.exit is not None
    assert ended.exit.code == 7
    assert ended.reason is not None
    assert ended.reason.code == "exited"


async def test_a_polite_job_gets_its_grace(jobs: LocalJobs) -> None:
    code = """
import signal, sys
def leave(*_):
    print("saved", flush=True); sys.exit(5)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
while True: signal.pause()
"""
    job_id = await jobs.start(python(code))
    await jobs.until_output(job_id, "up")
    await jobs.backend.cancel([job_id])
    ended = await jobs.until_ended(job_id)
    assert ended.exit is not None
    assert ended.exit.code == 5
    assert ended.reason is not None
    assert ended.reason.code == "stopped"
    assert (await jobs.backend.read_log(job_id, 1)).lines == ("saved",)


async def test_a_deaf_job_is_killed_after_the_grace_and_not_before(jobs: LocalJobs) -> None:
    job_id = await jobs.start(
        python("import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\nwhile 1: signal.pause()")
    )
    await jobs.until_output(job_id, "up")
    asked = time.monotonic()
    await jobs.backend.cancel([job_id])
    await jobs.backend.cancel([job_id])
    ended = await jobs.until_ended(job_id)
    assert time.monotonic() - asked >= 0.9
    assert ended.exit is not None
    assert ended.exit.signal == 9
    assert ended.reason is not None
    assert ended.reason.code == "stopped"


async def test_stopped_processes_end_too(jobs: LocalJobs) -> None:
    job_id = await jobs.start(("sh", "-c", "echo up; kill -STOP $$"))
    await jobs.until_output(job_id, "up")
    await _stop(jobs, job_id)


async def test_a_tree_that_forks_without_end_is_ended(jobs: LocalJobs) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
for _ in range(100_000):
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.0005)
"""
    wrapper = DAEMON + "exec(" + repr(code.replace("os._exit(0)", "time.sleep(0.05); os._exit(0)")) + ")"
    job_id = await jobs.start(python(wrapper))
    await jobs.until_output(job_id, "up")
    await _stop(jobs, job_id)


async def test_one_jobs_stop_leaves_every_other_alone(jobs: LocalJobs) -> None:
    ours = [await jobs.start() for _ in range(3)]
    await _stop(jobs, ours[1])
    for job_id in (ours[0], ours[2]):
        seen = await jobs.see(job_id)
        assert seen is not None
        assert seen.phase is Phase.RUNNING
        assert len(processes_of(job_id)) == 1


async def test_stopping_what_is_unknown_or_ended_is_no_error(jobs: LocalJobs) -> None:
    job_id = await jobs.start(("true",))
    ended = await jobs.until_ended(job_id)
    await jobs.backend.cancel([job_id, f"{jobs.instance}.aaaaaaaaaaaaaaaa", "../../etc", ""])
    assert await jobs.see(job_id) == ended


async def test_the_keeper_ends_the_job_when_only_the_keeper_is_told(jobs: LocalJobs) -> None:
    """A service that died between writing the request and waking the keeper."""
    job_id = await jobs.start()
    (jobs.folder(job_id) / "cancel").touch(mode=0o600)
    await until(lambda: processes_of(job_id) == [], "the keeper finds the request by itself")
    assert (await jobs.until_ended(job_id)).reason is not None
