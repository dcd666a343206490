"""How often a backend is listed: an eager one at every sign of news, a patient one only when its interval is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from sampan_hub.backends.base import Expected, Listing, Pace
from sampan_hub.backends.fake import FakeBackend
from sampan_hub.jobs.reconcile import utc_now
from sampan_hub.jobs.watch import Watch

EAGER = Pace(moving_s=0.4, steady_s=60.0, empty_s=60.0, gap_s=0.01)
PATIENT = Pace(moving_s=0.4, steady_s=60.0, empty_s=60.0, gap_s=0.01, patient=True)


class Looked:
    """A watch that runs, and when it looked."""

    def __init__(self, pace: Pace) -> None:
        backend = FakeBackend()
        backend.pace = pace
        self.times: list[float] = []
        self.watch = Watch(backend, utc_now, lambda: self.times.append(time.monotonic()))
        self.watch.set_interval(60.0)
        self.watch.expect([])

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, self.times
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(pace: Pace) -> AsyncIterator[Looked]:
    looked = Looked(pace)
    task = asyncio.create_task(looked.watch.run())
    await looked.until(lambda: len(looked.times) == 1)
    await asyncio.sleep(0.05)  # well into its rest
    yield looked
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_patient_backend_is_looked_at_one_interval_after_something_began() -> None:
    async with running(PATIENT) as looked:
        begun = time.monotonic()
        looked.watch.set_interval(PATIENT.moving_s)
        await looked.until(lambda: len(looked.times) == 2)
        assert looked.times[1] - begun >= PATIENT.moving_s - 0.01


async def test_an_eager_backend_is_looked_at_when_something_began() -> None:
    async with running(EAGER) as looked:
        begun = time.monotonic()
        looked.watch.set_interval(60.0 - 1)
        await looked.until(lambda: len(looked.times) == 2)
        assert looked.times[1] - begun < 5


@pytest.mark.parametrize("pace", [EAGER, PATIENT])
async def test_who_asks_for_a_look_gets_one(pace: Pace) -> None:
    async with running(pace) as looked:
        looked.watch.look_now()
        await looked.until(lambda: len(looked.times) == 2)


async def test_what_is_about_to_be_known_is_looked_at_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    listings = iter([False, False, True])
    observe = FakeBackend.observe

    async def unsettled(backend: FakeBackend, expected: Collection[Expected] = ()) -> Listing:
        return replace(await observe(backend, expected), is_settled=next(listings, True))

    monkeypatch.setattr(FakeBackend, "observe", unsettled)
    async with running(PATIENT) as looked:
        await looked.until(lambda: len(looked.times) == 3)
        await asyncio.sleep(2 * PATIENT.moving_s)
        assert len(looked.times) == 3


async def test_a_longer_interval_lets_the_present_rest_be() -> None:
    async with running(PATIENT) as looked:
        looked.watch.set_interval(0.2)
        looked.watch.set_interval(60.0)
        await looked.until(lambda: len(looked.times) == 2)
