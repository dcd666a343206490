"""Faults that happen to a machine, to Slurm or to the service's memory: one at a time, while jobs come and go."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.chaos import to_database
from tests.chaos.asking import is_running
from tests.chaos.light import LOOKS_S
from tests.slurm.faults.world import KINDS, SlurmWorld
from tests.support.installation import wait_until

SHORT_S = 10
LONG_S = 60


def slurmctld_down(world: SlurmWorld, choose: random.Random, moment: str, length_s: float) -> Iterator[None]:
    """Something is asked for while it is away, or as it goes."""
    going = world.running()
    as_it_goes, ids = list[str](), list[str]()
    if moment == "submit":
        as_it_goes = world.one.submit("alice", choose.choice([1, 3]))
        time.sleep(choose.uniform(0, 0.6))
    if moment == "stop":
        world.one.stop(going)
        time.sleep(choose.uniform(0, 0.3))
    world.slurm.slurmctld.stop()
    time.sleep(length_s / 2)
    if moment == "submit":
        ids = world.one.submit("bob")
    time.sleep(length_s / 2)
    states = {world.one.job(job_id)["state"] for job_id in world.standing}
    assert states == {"running"}, "nothing changes while nothing is known"
    world.slurm.start_slurmctld()
    yield
    world.one.until_running(*ids, *world.standing, timeout_s=90)
    _until_settled(world, as_it_goes)
    if moment == "stop":
        world.one.until_ended(going)
    yield
    world.stop(*as_it_goes, *ids, going)


@KINDS.enter("slurmctld down 10 s: submit", alone=True)
def down_in_submit(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from slurmctld_down(world, choose, "submit", SHORT_S)


@KINDS.enter("slurmctld down 10 s: listing", alone=True)
def down_in_listing(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from slurmctld_down(world, choose, "listing", SHORT_S)


@KINDS.enter("slurmctld down 10 s: stop", alone=True)
def down_in_stop(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from slurmctld_down(world, choose, "stop", SHORT_S)


@KINDS.enter("slurmctld down 60 s", alone=True, is_slow=True)
def down_long(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from slurmctld_down(world, choose, choose.choice(["submit", "listing", "stop"]), LONG_S)


@KINDS.enter("slurmctld killed right after a submit", alone=True)
def killed_after_submit(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    """What stands is on its disk by then; what comes now may not be."""
    world.slurm.slurmctld.stop()
    world.slurm.start_slurmctld()
    ids = world.one.submit("alice", choose.choice([1, 3]))
    arrived = {"queued", "starting", "running"}
    for job_id in ids:
        world.one.until(job_id, lambda job: job["state"] in arrived, "is submitted")
    numbers = [int(row.raw_id) for row in world.judges["one"].rows() if row.job_id in ids]
    world.slurm.slurmctld.kill()
    world.slurm.start_slurmctld()
    yield
    _until_settled(world, ids)
    yield
    world.stop(*ids)
    world.slurm.use_up_numbers("bob", max(numbers))
    time.sleep(LOOKS_S)
    world.slurm.resume(*world.slurm.nodes)


def _until_settled(world: SlurmWorld, ids: list[str]) -> None:
    """A controller that goes so early comes back without the job as often as with it, or with a job yet to start, or
    finds that its node was never told. Then Slurm itself ends what there is.
    """
    for job_id in ids:
        wait_until(lambda job_id=job_id: _is_settled(world, job_id), 120, f"{job_id} runs, or is known to be lost")


def _is_settled(world: SlurmWorld, job_id: str) -> bool:
    job = world.one.job(job_id)
    states = {row.state for row in world.judges["one"].rows() if row.job_id == job_id and row.is_alive}
    if job["state"] == "ended":
        assert job["reason"]["code"] in {"lost-by-slurm", "cancelled", "failed", "node-failed"}, job
        return not states
    return is_running(job) and states == {"RUNNING"}


def lying_squeue(world: SlurmWorld, choose: random.Random, *lies: str) -> Iterator[None]:
    """For some looks; meanwhile one job comes and one goes."""
    going = world.running()
    world.ground.say("squeue", choose.choice(lies))
    try:
        coming = world.one.submit("alice")
        world.one.stop(going)
        time.sleep(choose.uniform(3, 8))
        views = world.one.jobs()
    finally:
        world.ground.hush("squeue")
    ended = {job_id: job["reason"] for job_id, job in views.items() if job["state"] == "ended"}
    assert not ended.keys() & {*world.standing, *coming}, ended
    yield
    world.one.until_running(*coming, *world.standing)
    world.one.until_ended(going)
    yield
    world.stop(*coming)


@KINDS.enter("squeue garbage", alone=True)
def squeue_garbage(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from lying_squeue(world, choose, "garbage", "words", "failing")


@KINDS.enter("squeue hanging", alone=True)
def squeue_hanging(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from lying_squeue(world, choose, "hanging")


@KINDS.enter("squeue half", alone=True)
def squeue_half(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    yield from lying_squeue(world, choose, "half", "lines", "nothing")


@KINDS.enter("slurmd killed", alone=True)
def slurmd_killed(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    """Sometimes long enough for Slurm to give its node up."""
    node = world.row(choose.choice(world.standing)).node
    given_up = choose.random() < 0.3
    lost = world.lose_node(node) if given_up else []
    world.slurm.slurmd[node].kill()
    if given_up:
        world.slurm.declare_down(node)
    else:
        time.sleep(choose.uniform(1, 4))
    world.slurm.slurmd[node].start()
    yield
    for ended in world.one.until_ended(*lost):
        assert ended["reason"]["code"] == "node-failed", ended
    world.one.until_running(*world.standing)
    yield
    world.slurm.wait_for_nodes(node)


@KINDS.enter("node crashed", alone=True)
def node_crashed(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    node = world.row(choose.choice(world.standing)).node
    lost = world.lose_node(node)
    world.slurm.crash(node)
    world.slurm.declare_down(node)
    yield
    for ended in world.one.until_ended(*lost):
        assert ended["reason"]["code"] == "node-failed", ended
    yield
    world.one.until_running(*world.standing)
    world.slurm.boot(node)


@KINDS.enter("node drained", alone=True)
def node_drained(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    node = world.row(choose.choice(world.standing)).node
    world.slurm.drain(node)
    ids = world.one.submit("alice", 2)
    yield
    world.one.until_running(*ids, *world.standing)
    yield
    assert node not in {world.row(job_id).node for job_id in ids}
    world.slurm.resume(node)
    world.stop(*ids)


@KINDS.enter("slurmdbd down", alone=True)
def slurmdbd_down(world: SlurmWorld, choose: random.Random) -> Iterator[None]:
    assert world.slurm.accounting is not None
    going, stopped = world.running(), world.running()
    world.slurm.accounting.slurmdbd.stop()
    try:
        world.slurm.ask("scancel", world.row(going).shown_id)
        world.one.stop(stopped)
        ids = world.one.submit("alice")
        yield
        world.one.until_ended(going, stopped)
        world.one.until_running(*ids, *world.standing)
        yield
    finally:
        world.slurm.accounting.start_slurmdbd()
    world.stop(*ids)


to_database.enter(KINDS)
