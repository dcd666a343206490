"""Faults that happen to one job; several at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.chaos.light import LOOKS_S
from tests.slurm.faults.world import KINDS, SlurmWorld
from tests.support.installation import wait_until


@KINDS.enter("cancelled behind our back")
def cancelled(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    world.slurm.ask("scancel", world.row(job_id).shown_id)
    yield
    (ended,) = world.one.until_ended(job_id)
    assert ended["reason"]["code"] == "cancelled", ended


@KINDS.enter("held")
def held(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    row = world.waiting()
    job_id = row.job_id
    world.slurm.ask("scontrol", "hold", row.raw_id)
    yield
    is_told = lambda job: "held" in (job["reason"] or {}).get("code", "")  # noqa: E731
    world.one.until(job_id, is_told, "is told to be held")
    yield
    assert world.one.job(job_id)["state"] == "queued"
    world.let_start(row)
    world.slurm.ask("scontrol", "release", row.raw_id)
    world.one.until_running(job_id)
    world.stop(job_id)


@KINDS.enter("requeued")
def requeued(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    number = world.row(job_id).raw_id
    world.slurm.ask("scontrol", "update", f"JobId={number}", "Requeue=1")
    world.slurm.ask("scontrol", "requeue", number)
    yield
    world.one.until_ended(job_id, timeout_s=150)
    assert len(world.ground.runs_of(job_id)) == 1


@KINDS.enter("walltime", is_slow=True)
def walltime(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running(size="brief")
    yield
    (ended,) = world.one.until_ended(job_id, timeout_s=150)
    assert ended["reason"]["code"] == "walltime", ended


@KINDS.enter("out of memory")
def out_of_memory(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    (job_id,) = world.one.submit("alice", fault="memory")
    yield
    (ended,) = world.one.until_ended(job_id)
    assert ended["reason"]["code"] == "out-of-memory", ended


@KINDS.enter("stage folder deleted under a running job")
def stage_deleted(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    world.slurm.hub.run(["rm", "-r", world.stage(world.row(job_id))], user="alice", check=True)
    time.sleep(LOOKS_S)
    yield
    world.one.until_running(job_id)
    yield
    world.stop(job_id)


@KINDS.enter("stage folder deleted before the start")
def stage_deleted_early(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    row = world.waiting()
    world.slurm.hub.run(["rm", "-r", world.stage(row)], user="alice", check=True)
    world.let_start(row)
    yield
    world.one.until_ended(row.job_id)
    assert world.ground.runs_of(row.job_id) == []


@KINDS.enter("sbatch reply lost: run-as killed")
def run_as_killed(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from _lose_reply(world, "killed", choose)


@KINDS.enter("sbatch reply lost: sbatch says that it failed")
def sbatch_mute(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from _lose_reply(world, "mute", choose)


def _lose_reply(world: SlurmWorld, how: str, choose: random.Random) -> Iterator[None]:
    """Whoever of alice's comes next: another fault's job, perhaps, which must not mind either."""
    token = f"sbatch-alice-{how}-{choose.getrandbits(32)}"
    world.ground.say(token, "")
    ids = world.one.submit("alice", choose.choice([1, 1, 3]))
    yield
    world.one.until_running(*ids)
    yield
    wait_until(lambda: not world.ground.is_said(token), 30, "somebody's reply is lost")
    world.stop(*ids)


@KINDS.enter("service killed during a submit")
def killed_in_submit(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    ids = world.one.submit("alice", choose.choice([1, 3]))
    time.sleep(choose.uniform(0, 1.2))
    world.one.kill()
    yield
    world.one.until_running(*ids)
    yield
    world.stop(*ids)


@KINDS.enter("service killed during a stop")
def killed_in_stop(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    ids = world.one.submit("alice", 2)
    world.one.until_running(*ids)
    world.one.stop(ids[0])
    time.sleep(choose.uniform(0, 1.0))
    world.one.kill()
    yield
    world.one.until_ended(ids[0])
    world.one.until_running(ids[1])
    yield
    world.stop(ids[1])


@KINDS.enter("forged comment: another person's copy")
def forged_by_another(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    with world.bob:
        number = _copy(world, job_id, "bob")
    yield
    wait_until(lambda: ("forged", job_id) in world.one.findings(), 30, "it is shown to administrators")
    yield
    world.one.until_running(job_id)
    world.stop(job_id)
    time.sleep(LOOKS_S)
    assert world.slurm.job(int(number))["JobState"] == "RUNNING", "bob's job is his alone"
    world.slurm.ask("scancel", number)


@KINDS.enter("forged comment: her own copy")
def copied_by_herself(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    number = _copy(world, job_id, "alice")
    time.sleep(LOOKS_S)
    world.slurm.ask("scancel", number)
    yield
    time.sleep(LOOKS_S)
    world.one.until_running(job_id)
    yield
    world.stop(job_id)


def _copy(world: SlurmWorld, job_id: str, user: str) -> str:
    """A job with the same name and comment that does nothing."""
    number = world.row(job_id).raw_id
    words = world.slurm.ask("squeue", "-h", "-a", "-j", number, "-o", "%j %k").split()
    options = [f"--job-name={words[0]}", f"--comment={words[1]}", "--output=/dev/null", "--mem=50", "--account=common"]
    forged = str(world.slurm.submit(user, "#!/bin/sh\nexec sleep 600\n", *options))
    world.judges["one"].forged.add(forged)
    world.slurm.wait_for_job(int(forged), "RUNNING")
    return forged


@KINDS.enter("home full")
def home_full(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    with world.bob:
        world.slurm.homes.fill("bob")
        try:
            (job_id,) = world.one.submit("bob")
            yield
            (ended,) = world.one.until_ended(job_id)
            assert ended["reason"]["code"] == "slurm-home-full", ended
            yield
        finally:
            world.slurm.homes.restore()
        world.stop(world.running("bob"))
