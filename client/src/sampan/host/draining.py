"""Letting a worker go without running a task twice: it begins nothing more, ends what it runs, gives up the rest."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import Collection, Sequence
from typing import Any

from distributed.core import Status, rpc
from distributed.scheduler import Scheduler, WorkerState
from distributed.worker import Worker

log = logging.getLogger("sampan.host")

LOOK_S = 0.02
ASK_AGAIN_S = 1.0
ANSWER_S = 5.0
RETIRE_AGAIN_S = 1.0
OVERHEAD_S = 1.0
"""What a drain takes beside its tasks and results."""
TO_RUN = ("waiting", "queued", "no-worker", "processing")
SAFETY = 1.5
"""Tasks may take this many times longer than the longest of their kind did."""


def begin_nothing_more(dask_worker: Worker) -> list[Any]:
    """In the worker: finish what runs and begin nothing more. The keys of the tasks that it has and did not begin."""
    if dask_worker.status in (Status.running, Status.paused):
        dask_worker.status = Status.closing_gracefully
    state = dask_worker.state
    return [task.key for tasks in (state.waiting, state.ready, state.constrained) for task in tasks]


async def drain(scheduler: Scheduler, name: str, until_s: float) -> None:
    """Return when this worker runs nothing and will not, or at `until_s` (since the epoch).

    What it has not begun is offered to others, and comes to them at the latest when the worker is retired. The
    scheduler's word alone would not do: it does not know which of a worker's tasks run.
    """
    worker = find_worker(scheduler, name)
    if worker is None:
        return
    scheduler.handle_worker_status_change(Status.closing_gracefully, worker, f"sampan-drain-{name}")
    not_begun: set[Any] = set()
    asked_at_s = float("-inf")
    while worker.address in scheduler.workers and worker.processing:
        if time.time() >= until_s:
            log.warning("Worker %s still runs tasks and cannot wait; they are run again elsewhere", name)
            return
        if time.monotonic() - asked_at_s >= ASK_AGAIN_S:
            not_begun = await _ask(scheduler, worker, until_s)
            asked_at_s = time.monotonic()
            _offer(scheduler, worker, not_begun)
        if all(task.key in not_begun for task in worker.processing):
            return
        await asyncio.sleep(LOOK_S)


async def retire(scheduler: Scheduler, names: Sequence[str], until_s: float) -> None:
    """Move these workers' results away and end them; asked again until `until_s` while nobody can take the results."""
    while arrived := [name for name in names if find_worker(scheduler, name) is not None]:
        await scheduler.retire_workers(names=arrived, remove=True, close_workers=True)
        if time.time() >= until_s:
            return
        if any(find_worker(scheduler, name) is not None for name in arrived):
            await asyncio.sleep(RETIRE_AGAIN_S)


async def _ask(scheduler: Scheduler, worker: WorkerState, until_s: float) -> set[Any]:
    """Tell the worker, and hear what it has not begun; nothing when it does not answer."""
    try:
        async with asyncio.timeout(min(ANSWER_S, max(0.1, until_s - time.time()))):
            async with rpc(worker.address, connection_args=scheduler.connection_args) as remote:
                answer = await remote.run(function=pickle.dumps(begin_nothing_more))
    except (OSError, TimeoutError) as error:
        log.info("Worker %s did not say what it runs and is asked again: %s", worker.name, error)
        return set()
    if answer["status"] != "OK":
        log.warning("Worker %s cannot say what it runs: %s", worker.name, answer.get("text"))
        return set()
    return set(answer["result"])


def _offer(scheduler: Scheduler, worker: WorkerState, not_begun: Collection[Any]) -> None:
    """By the protocol of Dask's work stealing, in which the worker has the last word on whether it has begun."""
    stealing = scheduler.extensions.get("stealing")
    if stealing is None:
        return
    for task in [task for task in worker.processing if task.key in not_begun]:
        valid = scheduler.valid_workers(task)
        thieves = scheduler.running if valid is None else valid & scheduler.running
        if thieves:
            thief = min(
                thieves, key=lambda w: ((len(w.processing) + stealing.in_flight_tasks[w]) / w.nthreads, w.address)
            )
            stealing.move_task_request(task, worker, thief)


def find_worker(scheduler: Scheduler, name: str) -> WorkerState | None:
    """The worker of this name, if it is there."""
    return next((worker for worker in scheduler.workers.values() if worker.name == name), None)


def longest_task_s(scheduler: Scheduler) -> float:
    """How long a task may take of the kinds that are or will be run; 0 while nothing is known of them."""
    kinds = [kind for kind in scheduler.task_prefixes.values() if any(kind.states.get(state) for state in TO_RUN)]
    return max((max(kind.max_exec_time, kind.duration_average, 0.0) for kind in kinds), default=0.0)


def estimate_s(scheduler: Scheduler, worker: WorkerState, longest_s: float) -> float:
    """How long it will take to drain and retire this worker."""
    transfer_s: float = worker.nbytes / scheduler.bandwidth
    return SAFETY * longest_s + transfer_s + OVERHEAD_S
