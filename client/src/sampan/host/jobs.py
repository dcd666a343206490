"""Worker jobs as Dask's SpecCluster sees them, and the requests behind them: one per scale, whatever its size."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from sampan._api import Service
from sampan.errors import Refused, SampanError, ServiceUnavailable
from sampan.host.options import make_submit_request

log = logging.getLogger("sampan.host")

PATIENCE_S = 120.0
"""How long a submit outlasts a service that is away; the batch key makes repeating it harmless."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one asked-for worker: its job, or the problem that refused it."""

    job_id: str | None
    problem: dict[str, Any] | None = None


def read_outcomes(names: list[str], answer: Mapping[str, Any]) -> dict[str, Outcome]:
    """Worker name -> outcome, from a SubmitAnswer."""
    outcomes = {}
    for item in answer["items"]:
        job = item.get("job")
        outcomes[names[item["index"]]] = Outcome(job["id"] if job else None, item.get("problem"))
    return outcomes


class Jobs:
    """Collects what one turn of the event loop asks for into one request each way."""

    def __init__(self, service: Service, base: Mapping[str, Any], early: Mapping[str, Outcome]) -> None:
        self.service = service
        self.base = base
        self.early = dict(early)
        self.allowed_now: int | None = None
        self._submits: list[tuple[str, str, asyncio.Future[Outcome]]] = []
        self._cancels: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, name: str, size: str) -> asyncio.Future[Outcome]:
        """The outcome for one more worker; answered at once for those submitted before the loop ran."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        early = self.early.pop(name, None)
        if early is not None:
            future.set_result(early)
            return future
        if not self._submits:
            loop.call_soon(self._start, self._flush_submits)
        self._submits.append((name, size, future))
        return future

    def cancel(self, job_id: str) -> asyncio.Future[None]:
        """Done when the service took the stop (or said that there is nothing to stop)."""
        loop = asyncio.get_running_loop()
        if not self._cancels:
            loop.call_soon(self._start, self._flush_cancels)
        return self._cancels.setdefault(job_id, loop.create_future())

    def _start(self, flush: Any) -> None:
        task = asyncio.get_running_loop().create_task(flush())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def call_patiently(self, method: str, path: str, body: Any, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """An idempotent request, repeated while the service is away."""
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                return await self.service.call_async(method, path, body)
            except ServiceUnavailable as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(min(error.retry_after_s or 0.5, 5.0))

    async def _flush_submits(self) -> None:
        batch, self._submits = self._submits, []
        names = [name for name, _, _ in batch]
        request = make_submit_request(self.base, [(name, size) for name, size, _ in batch])
        try:
            answer = await self.call_patiently("POST", "/jobs", request)
        except SampanError as error:
            log.warning("%d worker(s) were not submitted: %s", len(batch), error)
            problem = {"detail": str(error), "code": getattr(error, "code", "unavailable")}
            outcomes = {name: Outcome(None, problem) for name in names}
        else:
            self.allowed_now = answer.get("allowed_now")
            outcomes = read_outcomes(names, answer)
        for name, _, future in batch:
            if not future.done():
                future.set_result(outcomes[name])

    async def _flush_cancels(self) -> None:
        batch, self._cancels = self._cancels, {}
        try:
            await self.call_patiently("POST", "/jobs/stop", {"ids": list(batch)}, patience_s=30.0)
        except Refused as error:
            log.info("Stop of %d worker(s): %s", len(batch), error)
        except ServiceUnavailable as error:
            log.warning(
                "Stop of %d worker(s) not delivered (the service stops them with the cluster): %s", len(batch), error
            )
        for future in batch.values():
            if not future.done():
                future.set_result(None)


class WorkerJob(ProcessInterface):
    """One worker job. `outcome` tells after the start whether it exists; a refusal is no exception here."""

    def __init__(self, scheduler: str, name: str, jobs: Jobs, size: str) -> None:
        super().__init__(scheduler, name)
        self.name = name
        self.jobs = jobs
        self.size = size
        self.outcome: Outcome | None = None

    @property
    def job_id(self) -> str | None:
        return self.outcome.job_id if self.outcome else None

    async def start(self) -> None:
        """Ask for the job; returns when the service answered, long before the worker arrives."""
        self.outcome = await self.jobs.submit(self.name, self.size)
        await super().start()

    async def close(self) -> None:
        """Stop the job, gracefully if it still works; idempotent."""
        if self.job_id is not None and self.status != Status.closed:
            await self.jobs.cancel(self.job_id)
        await super().close()
