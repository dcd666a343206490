"""Letting a worker go, with Dask's own scheduler and workers: what it had begun ends there, nothing runs twice."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import dask
import pytest
from distributed import Client, Scheduler, Worker
from distributed.core import Status

from sampan.host import draining

RAN: Counter[int] = Counter()
GATE = threading.Event()


def hold(number: int) -> str:
    """Counts, and waits for the gate."""
    RAN[number] += 1
    assert GATE.wait(30)
    return f"{number} in {threading.current_thread().name}"


@pytest.fixture
async def site() -> AsyncIterator[tuple[Scheduler, Client]]:
    RAN.clear()
    GATE.clear()
    eager = {"distributed.scheduler.worker-saturation": float("inf")}  # all tasks go to workers at once
    with dask.config.set(eager):
        async with (
            Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            yield scheduler, client
            GATE.set()


def add_worker(scheduler: Scheduler, name: str) -> Worker:
    return Worker(scheduler.address, name=name, nthreads=1, dashboard=False)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("the condition did not come true")


async def test_what_runs_ends_there_and_the_rest_goes_elsewhere(site: tuple[Scheduler, Client]) -> None:
    scheduler, client = site
    async with add_worker(scheduler, "old") as old:
        futures = client.map(hold, range(10))
        await until(lambda: len(RAN) == 1 and len(find(scheduler, "old").processing) == 10)
        async with add_worker(scheduler, "new") as new:
            drained = asyncio.create_task(draining.drain(scheduler, "old", time.time() + 30))
            await until(lambda: old.status is Status.closing_gracefully)
            await until(lambda: len(find(scheduler, "new").processing) == 9)
            assert not drained.done(), "one still runs"
            GATE.set()
            await drained
            await draining.retire(scheduler, ["old"], time.time() + 30)
            assert draining.find_worker(scheduler, "old") is None
            assert len(await client.gather(futures)) == 10
            assert len(new.data) == 10, "results moved"
    assert Counter(range(10)) == RAN


async def test_with_nobody_else_there_the_rest_waits_and_results_are_kept(site: tuple[Scheduler, Client]) -> None:
    scheduler, client = site
    async with add_worker(scheduler, "old"):
        done = await client.scatter("a result", hash=False)
        futures = client.map(hold, range(5))
        await until(lambda: len(RAN) == 1 and len(find(scheduler, "old").processing) == 5)
        drained = asyncio.create_task(draining.drain(scheduler, "old", time.time() + 30))
        await until(lambda: find(scheduler, "old").status is Status.closing_gracefully)
        GATE.set()
        await drained
        assert sum(RAN.values()) == 1, "no other one was begun"
        retired = asyncio.create_task(draining.retire(scheduler, ["old"], time.time() + 30))
        async with add_worker(scheduler, "new"):
            await retired
            assert draining.find_worker(scheduler, "old") is None
            assert await done == "a result"
            assert len(await client.gather(futures)) == 5
    assert Counter(range(5)) == RAN


async def test_who_does_not_get_ready_is_not_waited_for(
    site: tuple[Scheduler, Client], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, client = site
    async with add_worker(scheduler, "old"):
        future = client.submit(hold, 1)
        await until(lambda: len(RAN) == 1)
        with caplog.at_level(logging.WARNING, "sampan.host"):
            await draining.drain(scheduler, "old", time.time() + 0.5)
        assert "still runs tasks" in caplog.text
        GATE.set()
        await future
    await draining.drain(scheduler, "old", time.time() + 30)
    await draining.retire(scheduler, ["old"], time.time() + 30)


async def test_a_drain_is_expected_to_take_as_long_as_the_longest_task(site: tuple[Scheduler, Client]) -> None:
    scheduler, client = site
    assert draining.longest_task_s(scheduler) == 0.0
    async with add_worker(scheduler, "old"):
        future = client.submit(hold, 1)
        await until(lambda: draining.longest_task_s(scheduler) > 0.5)
        longest_s = draining.longest_task_s(scheduler)
        assert draining.estimate_s(scheduler, find(scheduler, "old"), longest_s) > longest_s + draining.OVERHEAD_S
        GATE.set()
        await future
        assert draining.longest_task_s(scheduler) == 0.0, "nothing of its kind is to be run any more"


def find(scheduler: Scheduler, name: str) -> draining.WorkerState:
    worker = draining.find_worker(scheduler, name)
    assert worker is not None
    return worker
