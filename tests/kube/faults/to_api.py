"""Faults of the way to the API server: what the service sees of one that is slow, ill, away or forgetful."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.kube.faults.api_server import Mood
from tests.kube.faults.world import KINDS, KubeWorld


@KINDS.enter("watch dropped")
def watch_dropped(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """Several times, while jobs come and go."""
    ids = world.one.submit("alice", 2)
    for _ in range(3):
        world.ground.drop_watches()
        time.sleep(choose.uniform(0, 0.5))
    yield
    world.one.until_running(*ids)
    yield
    world.ground.drop_watches()
    world.stop(*ids)


@KINDS.enter("watch answered 410")
def watch_expired(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """Whatever version it asks for is forgotten: everything is listed anew."""
    going = world.running()
    with mood(world, lambda mood: setattr(mood, "forgets", True)):
        world.ground.drop_watches()
        coming = world.one.submit("alice")
        world.one.stop(going)
        time.sleep(choose.uniform(1, 3))
    yield
    world.one.until_running(*coming)
    world.one.until_ended(going)
    yield
    world.stop(*coming)


def while_ill(world: KubeWorld, choose: random.Random, change: Callable[[Mood], None]) -> Iterator[None]:
    """For some seconds; meanwhile one job comes and one goes, and nothing is believed to have ended but that one."""
    going = world.running()
    with mood(world, change):
        world.ground.drop_watches()
        coming = world.one.submit("alice")
        world.one.stop(going)
        time.sleep(choose.uniform(3, 8))
        views = world.one.jobs()
    ended = {job_id: job["reason"] for job_id, job in views.items() if job["state"] == "ended"}
    assert not ended.keys() & {*world.standing, *coming}, ended
    yield
    world.one.until_running(*coming, *world.standing, timeout_s=90)
    world.one.until_ended(going, timeout_s=90)
    yield
    world.stop(*coming)


@contextmanager
def mood(world: KubeWorld, change: Callable[[Mood], None]) -> Iterator[None]:
    """As changed, then well again; whoever waits for an answer meanwhile is sent away."""
    change(world.ground.api.mood)
    try:
        yield
    finally:
        world.ground.api.mood = Mood()
        world.ground.hang_up_on_everybody()


@KINDS.enter("API server answers 5xx", alone=True)
def answers_5xx(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from while_ill(world, choose, lambda mood: setattr(mood, "status", choose.choice([500, 502, 503, 504])))


@KINDS.enter("API server answers 429", alone=True)
def answers_429(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from while_ill(world, choose, lambda mood: setattr(mood, "status", 429))


@KINDS.enter("API server refuses the service's account", alone=True)
def answers_401(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from while_ill(world, choose, lambda mood: setattr(mood, "status", 401))


@KINDS.enter("API server slow", alone=True)
def slow(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from while_ill(world, choose, lambda mood: setattr(mood, "delay_s", choose.uniform(1, 4)))


@KINDS.enter("API server silent", alone=True)
def silent(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from while_ill(world, choose, lambda mood: setattr(mood, "is_silent", True))


@KINDS.enter("API server answers half or nonsense", alone=True)
def nonsense(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from while_ill(world, choose, lambda mood: setattr(mood, "cuts", choose.choice(["lists", "words"])))
