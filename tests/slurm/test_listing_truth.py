"""What the Slurm backend says while the cluster hides, loses, forgets: nobody is declared dead, ends are proven."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sampan_hub.backends.base import BackendError, Expected, JobSpec, Listing, Observed, Phase
from sampan_hub.jobs.keys import is_signed
from sampan_hub.jobs.model import Resources
from tests.contract.local_jobs import SIGNING_KEY, find
from tests.slurm.slurm_rig import SlurmRig
from tests.slurm.test_run_as import PROGRAM, Caller, caller
from tests.testbeds.slurm.cluster import Cluster

__all__ = ["caller"]

TINY = Resources(cores_milli=100, memory_bytes=64 << 20)
WHOLE_NODE = Resources(cores_milli=4000, memory_bytes=64 << 20)
ALIVE = {Phase.QUEUED, Phase.RUNNING}


@pytest.fixture
async def rig(slurm: Cluster, caller: Caller, tmp_path: Path) -> AsyncIterator[SlurmRig]:
    made = SlurmRig(slurm, PROGRAM, tmp_path)
    yield made
    await made.close()


def expect(specs: list[JobSpec]) -> list[Expected]:
    since = datetime.now(UTC) - timedelta(minutes=10)
    return [Expected(spec.job_id, spec.identity.batch, spec.identity.index, since) for spec in specs]


async def until(rig: SlurmRig, specs: list[JobSpec], condition: Callable[[list[Observed]], bool]) -> list[Observed]:
    """What is said of these jobs once it fulfils the condition."""
    deadline = time.monotonic() + 40
    while True:
        listing = await rig.backend.observe(expect(specs))
        seen = [observed for spec in specs if (observed := find(listing, spec.job_id)) is not None]
        if len(seen) == len(specs) and condition(seen):
            return seen
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.2)


def all_in(*phases: Phase) -> Callable[[list[Observed]], bool]:
    return lambda seen: all(observed.phase in phases for observed in seen)


def ended(listing: Listing) -> list[str]:
    return [observed.job_id for observed in listing.jobs if observed.phase is Phase.ENDED]


async def test_an_array_is_one_call_and_its_tasks_are_jobs_of_their_own(rig: SlurmRig) -> None:
    before = rig.slurm.count_requests()
    specs = rig.batch(6, TINY)
    submitted = await rig.backend.submit(specs)
    assert submitted.accepted == {spec.job_id for spec in specs}
    assert (rig.slurm.count_requests() - before)["REQUEST_SUBMIT_BATCH_JOB"] == 1
    running = await until(rig, specs, all_in(Phase.RUNNING))
    assert len({observed.run for observed in running}) == 6
    assert all(observed.identity is not None and is_signed(SIGNING_KEY, observed.identity) for observed in running)
    assert all(observed.deadline is not None for observed in running)
    await rig.backend.cancel([specs[2].job_id])
    seen = await until(rig, specs, lambda seen: seen[2].phase is Phase.ENDED)
    assert [observed.phase for observed in seen].count(Phase.RUNNING) == 5
    assert (await rig.backend.read_log(specs[0].job_id, 10)).lines == ("up",)


async def test_waiting_says_why_and_where(rig: SlurmRig) -> None:
    specs = rig.batch(6, WHOLE_NODE)
    await rig.backend.submit(specs)
    seen = await until(
        rig,
        specs,
        lambda seen: (
            [observed.phase for observed in seen].count(Phase.RUNNING) == 4
            and all(observed.reason for observed in seen if observed.phase is Phase.QUEUED)
        ),
    )
    waiting = [observed for observed in seen if observed.phase is Phase.QUEUED]
    assert [observed.position for observed in waiting] == [1, 2]
    assert all(observed.reason is not None and observed.reason.text.startswith("Waiting") for observed in waiting)


async def test_a_waiting_task_that_is_cancelled_leaves_no_record_and_its_end_is_proven(rig: SlurmRig) -> None:
    """Slurm strikes it off the array: neither the queue nor accounting ever shows it again."""
    specs = rig.batch(7, WHOLE_NODE)
    await rig.backend.submit(specs)
    await until(rig, specs, lambda seen: [observed.phase for observed in seen].count(Phase.RUNNING) == 4)
    await rig.backend.cancel([specs[5].job_id])
    seen = await until(rig, specs, lambda seen: seen[5].phase is Phase.ENDED)
    assert [observed.phase for observed in seen].count(Phase.QUEUED) == 2
    await rig.backend.cancel([spec.job_id for spec in specs])
    seen = await until(rig, specs, all_in(Phase.ENDED))
    assert {observed.reason.code for observed in seen if observed.reason is not None} == {"cancelled"}


async def test_who_may_not_see_jobs_declares_none_dead(rig: SlurmRig) -> None:
    specs = rig.batch(3, TINY)
    await rig.backend.submit(specs)
    await until(rig, specs, all_in(Phase.RUNNING))
    with rig.slurm.changed({"PrivateData": "jobs"}):
        for _ in range(5):
            assert ended(await rig.backend.observe(expect(specs))) == []
            await asyncio.sleep(0.5)
    rig.slurm.hide_partition("compute")
    for _ in range(5):
        assert ended(await rig.backend.observe(expect(specs))) == []
        await asyncio.sleep(0.5)
    rig.slurm.show_partitions()
    await until(rig, specs, all_in(Phase.RUNNING))


async def test_what_the_controller_forgot_is_looked_up(rig: SlurmRig) -> None:
    ended_spec, running = rig.spec(), rig.spec()
    await rig.backend.submit([ended_spec, running])
    await until(rig, [ended_spec, running], all_in(Phase.RUNNING))
    rig.let_end(ended_spec.job_id, 5)
    rig.slurm.wait_for_job(rig.slurm_job(ended_spec.job_id), "FAILED")
    with rig.slurm.changed({"MinJobAge": "2"}):
        await rig.until_purged(ended_spec.job_id)
        rig.reopen()
        seen = await until(rig, [ended_spec, running], lambda seen: seen[0].phase is Phase.ENDED)
    assert seen[0].exit is not None
    assert seen[0].exit.code == 5
    assert seen[0].reason is not None
    assert seen[0].reason.text == "The job ended with exit code 5."
    assert seen[1].phase is Phase.RUNNING


async def test_without_slurmdbd_ends_are_still_ends(rig: SlurmRig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    await until(rig, [spec], all_in(Phase.RUNNING))
    assert rig.slurm.accounting is not None
    rig.slurm.accounting.slurmdbd.stop()
    rig.let_end(spec.job_id, 0)
    (seen,) = await until(rig, [spec], all_in(Phase.ENDED))
    assert seen.reason is not None
    assert seen.reason.code == "finished"
    listing = await rig.backend.observe(expect([rig.spec()]))
    assert listing.complete_history
    assert any("ccounting" in trouble for trouble in listing.troubles)


async def test_a_restarted_controller_shows_the_same_jobs(rig: SlurmRig) -> None:
    specs = rig.batch(3, TINY)
    await rig.backend.submit(specs)
    before = {observed.job_id: observed.run for observed in await until(rig, specs, all_in(Phase.RUNNING))}
    rig.slurm.slurmctld.stop()
    with pytest.raises(BackendError):
        await rig.backend.observe(expect(specs))
    rig.slurm.start_slurmctld()
    after = {observed.job_id: observed.run for observed in await until(rig, specs, all_in(Phase.RUNNING))}
    assert after == before


async def test_what_the_controller_lost_with_its_state_is_told(rig: SlurmRig) -> None:
    """It comes back from a state older than the job, as after a crash right after the submit."""
    saved = rig.slurm.ctl.path("/var/spool/slurmctld")
    await rig.backend.observe()
    rig.slurm.slurmctld.stop()
    older = {file: file.read_bytes() for file in saved.glob("job_state*")}
    rig.slurm.start_slurmctld()
    spec = rig.spec()
    await rig.backend.submit([spec])
    await until(rig, [spec], all_in(Phase.RUNNING))
    number = rig.slurm_job(spec.job_id)
    rig.slurm.slurmctld.kill()
    for file in saved.glob("job_state*"):
        file.unlink()
    for file, content in older.items():
        file.write_bytes(content)
        shutil.chown(file, "slurm", "slurm")
    rig.slurm.start_slurmctld()
    (seen,) = await until(rig, [spec], all_in(Phase.ENDED))
    assert seen.reason is not None
    assert seen.reason.code == "lost-by-slurm"
    rig.slurm.use_up_numbers("bob", number)


async def test_a_forged_comment_is_nobodys_job(rig: SlurmRig) -> None:
    """Bob copies name and comment of alice's job; alice copies her own: the one has no signature, the other is told."""
    spec = rig.spec()
    await rig.backend.submit([spec])
    await until(rig, [spec], all_in(Phase.RUNNING))
    name, comment = rig.slurm.ask("squeue", "-h", "-a", "--user=alice", "-o", "%j|%k").strip().split("|")
    for user in ("bob", "alice"):
        rig.slurm.submit(user, "#!/bin/sh\nsleep 300\n", f"--job-name={name}", f"--comment={comment}", "--mem=50M")
    listing = await rig.backend.observe()
    same = [observed for observed in listing.jobs if observed.job_id == spec.job_id]
    assert sorted((observed.owner, observed.identity is not None) for observed in same) == [
        ("alice", True),
        ("alice", True),
        ("bob", False),
    ]
    assert any(spec.job_id in trouble for trouble in listing.troubles)
    await rig.backend.cancel([spec.job_id])
    deadline = time.monotonic() + 20
    while (left := rig.slurm.ask("squeue", "-h", "-a", "-t", "R,PD", "-o", "%u").split()) != ["bob"]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.2)


async def test_who_renames_a_job_does_not_hide_it(rig: SlurmRig) -> None:
    """Number, user and folder tell which it is: it is seen, stopped, and its end is known."""
    specs = rig.batch(2, TINY)
    await rig.backend.submit(specs)
    await until(rig, specs, all_in(Phase.RUNNING))
    (array,) = set(rig.slurm.ask("squeue", "-h", "-a", "--user=alice", "-t", "R", "-o", "%F").split())
    for task, comment in ((0, []), (1, ["Comment=mine"])):
        words = ["scontrol", "update", f"JobId={array}_{task}", "JobName=a\nb", *comment]
        rig.slurm.hub.run(words, user="alice", check=True)
    listing = await rig.backend.observe(expect(specs))
    seen = {observed.job_id: observed for observed in listing.jobs if observed.phase is Phase.RUNNING}
    assert [seen[spec.job_id].identity for spec in specs] == [specs[0].identity, None]
    assert len(listing.troubles) == 2, listing.troubles
    await rig.backend.cancel([spec.job_id for spec in specs])
    await until(rig, specs, all_in(Phase.ENDED))


async def test_questions_to_the_controller_are_few(rig: SlurmRig) -> None:
    """One listing is two requests, whatever is in the queue; four hundred workers are one submit."""
    await rig.backend.observe()
    before = rig.slurm.count_requests()
    for _ in range(2):  # a minute of rest at the steady pace
        await rig.backend.observe()
    await rig.backend.capacity()
    idle = rig.slurm.count_requests() - before
    assert sum(count for name, count in idle.items() if name != "REQUEST_STATS_INFO") <= 8, idle
    specs = rig.batch(400, TINY)
    before, begun = rig.slurm.count_requests(), time.monotonic()
    assert len((await rig.backend.submit(specs)).accepted) == 400
    listing = await rig.backend.observe(expect(specs))
    took_s = time.monotonic() - begun
    asked = rig.slurm.count_requests() - before
    print(f"400 workers: {took_s:.2f} s, {dict(asked)}; idle minute: {dict(idle)}")
    assert len([observed for observed in listing.jobs if observed.phase in ALIVE]) == 400
    assert sum(count for name, count in asked.items() if name in CLIENT_REQUESTS) <= 4, asked
    assert took_s < 6  # two seconds on a quiet machine


CLIENT_REQUESTS = {
    "REQUEST_SUBMIT_BATCH_JOB",
    "REQUEST_JOB_INFO",
    "REQUEST_PARTITION_INFO",
    "REQUEST_NODE_INFO",
    "REQUEST_BUILD_INFO",
    "REQUEST_PING",
}
