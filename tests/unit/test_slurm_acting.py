"""The unprivileged side: real child processes, stand-ins for Slurm."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sampan_hub.backends.base import BackendError, LogTail
from sampan_hub.backends.slurm.acting import Acting, ActingRefused, Started
from tests.support.slurm_requests import BATCH, INSTANCE, NAME, STAGE, make_options, make_submit
from tests.support.slurm_standins import Standins

ME = pwd.getpwuid(os.getuid()).pw_name
PREFIX = f"sampan.{INSTANCE}."


@pytest.fixture
def standins(tmp_path: Path) -> Standins:
    return Standins(tmp_path / "slurm")


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "shared" / ME


@pytest.fixture
def acting(standins: Standins, jobs: Path) -> Acting:
    jobs.parent.mkdir()
    return Acting.as_myself(standins.policy(stage_root=f"{jobs.parent}/%u", accounting=True))


def _wait(is_so: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "it did not come to be so in time"
        time.sleep(0.02)


async def is_soon(is_so: Callable[[], bool], timeout_s: float = 15) -> None:
    await asyncio.to_thread(_wait, is_so, timeout_s)


async def test_a_job_is_submitted_once_and_its_log_read_and_removed(
    acting: Acting, standins: Standins, jobs: Path
) -> None:
    assert await acting.submit(make_submit(ME)) == Started(101, was_there=False)
    assert await acting.submit(make_submit(ME)) == Started(101, was_there=True)
    assert len(standins.calls()) == 1
    stage = jobs / STAGE
    assert {file.name for file in stage.iterdir()} == {"start.py", "batch.json", "submitted.json", ".lock"}
    assert (stage / "start.py").read_bytes() == b"print(1)\n"
    assert await acting.log(ME, STAGE, "job.log", 10) == LogTail((), truncated=False)
    (stage / "job.log").write_text("one\ntwo\nthree\n")
    assert await acting.log(ME, STAGE, "job.log", 2) == LogTail(("two", "three"), truncated=True)
    await acting.cancel(ME, ["101"], PREFIX)
    assert standins.calls("scancel")[0]["argv"] == ["101"]
    await acting.remove_stages(ME, [STAGE, f"{NAME}.7"])
    assert not (jobs / STAGE).exists()


async def test_slurms_own_sentence_reaches_the_person(acting: Acting, standins: Standins) -> None:
    standins.plan("sbatch", code=1, err="sbatch: error: Batch job submission failed: Invalid qos specification\n")
    with pytest.raises(ActingRefused) as refused:
        await acting.submit(make_submit(ME))
    assert (refused.value.code, refused.value.text) == ("refused", "Slurm refused the job: Invalid qos specification.")


async def test_a_controller_that_does_not_answer_refuses_nothing(acting: Acting, standins: Standins) -> None:
    standins.plan(
        "sbatch", code=1, err="sbatch: error: Batch job submission failed: Unable to contact slurm controller\n"
    )
    with pytest.raises(BackendError, match="Slurm does not answer") as failed:
        await acting.submit(make_submit(ME))
    assert not isinstance(failed.value, ActingRefused)
    standins.plan("sbatch")
    assert await acting.submit(make_submit(ME)) == Started(101, was_there=False)


async def test_a_submit_whose_process_was_killed_after_it_took_effect_is_found_again(
    acting: Acting, standins: Standins
) -> None:
    standins.plan("sbatch", killed=True)
    with pytest.raises(BackendError, match="no answer"):
        await acting.submit(make_submit(ME))
    standins.plan("sbatch")
    assert await acting.submit(make_submit(ME)) == Started(101, was_there=True)
    assert len(standins.calls("sbatch")) == 1


async def test_many_at_once_get_one_job_for_each_stage(acting: Acting, standins: Standins) -> None:
    names = [f"sampan.{INSTANCE}.{BATCH}.{offset}" for offset in range(3)]
    requests = [make_submit(ME, make_options(name=name), stage=f"{name}.0") for name in names for _ in range(4)]
    done = await asyncio.gather(*(acting.submit(request) for request in requests))
    assert len(standins.calls("sbatch")) == 3
    assert sorted({started.slurm_job for started in done}) == [101, 102, 103]
    assert sum(not started.was_there for started in done) == 3


async def test_ids_go_in_batches(acting: Acting, standins: Standins) -> None:
    array = standins.add(NAME, tasks="0-1199")
    await acting.cancel(ME, [f"{array}_{task}" for task in range(1200)], PREFIX)
    assert [len(call["argv"]) for call in standins.calls("scancel")] == [1000, 1]
    await acting.cancel(ME, [], PREFIX)
    assert len(standins.calls("squeue")) == 2


@pytest.mark.parametrize("end", ["time limit", "cancel"])
async def test_a_hanging_program_is_ended_with_the_call(standins: Standins, jobs: Path, end: str) -> None:
    jobs.parent.mkdir()
    policy = standins.policy(stage_root=f"{jobs.parent}/%u")
    acting = Acting.as_myself(policy, limit_s=2.0 if end == "time limit" else 60)
    standins.plan("sbatch", hangs=True)
    call = asyncio.create_task(acting.submit(make_submit(ME)))
    await is_soon(lambda: standins.is_hanging("sbatch") or call.done())
    if end == "cancel":
        call.cancel()
    with pytest.raises(asyncio.CancelledError if end == "cancel" else BackendError):
        await call
    (hanging,) = standins.calls("sbatch")
    await is_soon(lambda: not Path(f"/proc/{hanging['pid']}").exists())


def _missing() -> Acting:
    return Acting(("/nonexistent/sampan-run-as",))


def _silent() -> Acting:
    return Acting((sys.executable, "-I", "-c", "import sys; sys.exit('sudo: a password is required')"))


def _odd() -> Acting:
    return Acting((sys.executable, "-I", "-c", 'print(\'{"ok": {"slurm_job": true}}\')'))


def _garbled() -> Acting:
    return Acting((sys.executable, "-I", "-c", "print('{\"ok\": 1')"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "cannot be run"),
        (_silent, "password is required.*sudo rule"),
        (_odd, "not understood"),
        (_garbled, "no answer"),
    ],
)
async def test_what_is_no_answer_is_an_error(make: Callable[[], Acting], said: str) -> None:
    acting = make()
    with pytest.raises(BackendError, match=said):
        await acting.submit(make_submit(ME))


HANGS_FOR_ANA = """
import json, sys, time
if json.load(sys.stdin)["user"] == "ana":
    time.sleep(1000)
print('{"ok": {"lines": ["here"], "truncated": false}}')
"""


async def test_one_persons_calls_that_hang_keep_nobody_else_waiting() -> None:
    acting = Acting((sys.executable, "-I", "-c", HANGS_FOR_ANA))
    hanging = [asyncio.create_task(acting.log("ana", STAGE, "job.log", 1)) for _ in range(20)]
    try:
        async with asyncio.timeout(30):
            for _ in range(3):
                assert (await acting.log("ben", STAGE, "job.log", 1)).lines == ("here",)
        assert not any(call.done() for call in hanging)
    finally:
        for call in hanging:
            call.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_nobody_else_can_be_asked_for_where_all_runs_as_one(acting: Acting, standins: Standins) -> None:
    asks: list[Callable[[], Awaitable[object]]] = [
        lambda: acting.submit(make_submit("daemon")),
        lambda: acting.cancel("daemon", ["1"], PREFIX),
        lambda: acting.log("daemon", STAGE, "job.log", 1),
        lambda: acting.remove_stages("daemon", [STAGE]),
    ]
    for ask in asks:
        with pytest.raises(ActingRefused, match="jobs of others cannot"):
            await ask()
    assert standins.calls() == []


def test_sudo_is_called_with_the_verb_and_nothing_else() -> None:
    acting = Acting.through_sudo(Path("/opt/sampan/bin/sampan-run-as"))
    assert (*acting._command, "submit", *acting._arguments) == (
        "/usr/bin/sudo", "-n", "--", "/opt/sampan/bin/sampan-run-as", "submit",
    )  # fmt: skip
