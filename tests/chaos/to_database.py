"""Faults that happen to what an installation remembers, whatever it runs jobs on."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator

from tests.chaos.kinds import AnyWorld, Kinds
from tests.chaos.light import LOOKS_S


def enter(kinds: Kinds[AnyWorld]) -> None:
    """Enter them into a list."""
    for name, fault in (
        ("database wiped", database_wiped),
        ("database restored from yesterday", database_restored),
        ("a second installation forgets everything", second_installation),
    ):
        kinds.enter(name, alone=True)(fault)


def database_wiped(world: AnyWorld, choose: random.Random) -> Iterator[None]:
    journal = choose.random() < 0.5
    job_id = world.running()
    world.one.while_down(lambda: world.one.wipe(journal=journal))
    yield
    world.one.until_running(job_id, *world.standing)
    yield
    world.stop(job_id)


def database_restored(world: AnyWorld, choose: random.Random) -> Iterator[None]:
    """One job had just been asked for, one has been stopped since, one is newer than the backup."""
    copy = world.one.state.parent / f"yesterday-{secrets.token_hex(4)}.sqlite"
    stopped = world.running()
    (asked,) = world.one.submit("alice")
    world.one.back_up(copy)
    newer = world.running()
    world.one.until_running(asked)
    world.stop(stopped)
    world.one.while_down(lambda: world.one.restore(copy))
    yield
    world.one.until_running(asked, newer, *world.standing)
    world.one.until_ended(stopped)
    yield
    world.stop(asked, newer)


def second_installation(world: AnyWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    world.two.while_down(lambda: world.two.wipe(journal=True))
    world.one.kill()
    yield
    world.two.until_running(*world.theirs)
    world.one.until_running(job_id, *world.standing)
    yield
    world.stop(job_id)
    time.sleep(LOOKS_S)
    still_open = {job_id for job_id, job in world.two.jobs().items() if job["state"] != "ended"}
    assert still_open == set(world.theirs)
    assert not set(world.one.jobs()) & set(world.theirs)
