"""The calls a plan asks of one backend, each a task of its own, their outcomes recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import JobSpec, Refused, Submitted
from sampan_hub.jobs.model import Job, Reason, State
from sampan_hub.jobs.plan import Cancel, Forget, Record, Submit
from sampan_hub.jobs.plan.evidence import end
from sampan_hub.jobs.spec import NotRunnable, SpecRules, make_spec
from sampan_hub.jobs.store import Store
from sampan_hub.jobs.watch import Clock, Watch

logger = logging.getLogger(__name__)

AT_ONCE = 8
"""Calls of one backend that may be out at the same time."""
CALL_TIMEOUT_S = 60.0


class Calls:
    """Makes the calls of one backend. A call that fails leaves everything as recorded: the listing tells."""

    def __init__(self, watch: Watch, store: Store, rules: SpecRules, clock: Clock) -> None:
        self._watch = watch
        self._backend = watch.backend
        self._store = store
        self._rules = rules
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._forgetting: set[str] = set()

    def submit(self, call: Submit) -> None:
        """Send jobs that are recorded as submitting."""
        self._start(self._submit(call.jobs))

    def cancel(self, call: Cancel) -> None:
        """Ask for the end of these jobs; the plan repeats it until a listing shows it."""
        self._watch.note_cancels(call.job_ids)
        self._start(self._cancel(call.job_ids))

    def forget(self, call: Forget) -> None:
        """Let go of old records, each once at a time."""
        fresh = [job_id for job_id in call.job_ids if job_id not in self._forgetting]
        if fresh:
            self._forgetting.update(fresh)
            self._start(self._forget(fresh))

    async def close(self) -> None:
        """Give up on what is out; a later start settles it from listings."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, call: Coroutine[Any, Any, None]) -> None:
        try:
            await call
        except Exception:  # whatever a backend or the database raises, the plan goes on from what is recorded
            logger.exception("backend %s: a call failed; what it did will be seen", self._backend.name)
            self._watch.count_failure()
        else:
            if self._backend.pace.patient:
                return
        self._watch.look_now()

    async def _submit(self, jobs: Sequence[Job]) -> None:
        # In a thread: system users may be looked up in a directory on another machine, homes be on another's disk.
        specs, refused = await asyncio.to_thread(self._specs, jobs)
        accepted: frozenset[str] = frozenset()
        if specs:
            try:
                submitted = await self._send(specs, jobs)
            except Refused as error:
                refused[error.job_id] = error.reason
            else:
                accepted = submitted.accepted
                refused.update(submitted.refused)
        now = self._clock()
        pairs = [(job, _outcome(job, accepted, refused, self._begins_as, now)) for job in jobs]
        records = [Record(job, after) for job, after in pairs if after != job]
        if records:
            await asyncio.to_thread(self._store.apply, records, now)

    def _specs(self, jobs: Sequence[Job]) -> tuple[list[JobSpec], dict[str, Reason]]:
        specs: list[JobSpec] = []
        refused: dict[str, Reason] = {}
        for job in jobs:
            try:
                specs.append(make_spec(job, self._rules))
                _ensure_home(self._rules.place_of(job).home_of(job.owner))
            except NotRunnable as error:
                refused[job.id] = Reason("not-runnable", str(error))
        return specs, refused

    async def _send(self, specs: Sequence[JobSpec], jobs: Sequence[Job]) -> Submitted:
        """One call, within the timeout counted from the record: others may count on nothing being sent after it."""
        since = min(job.state_since or job.created_at for job in jobs)
        left_s = self._backend.submit_timeout_s - (self._clock() - since).total_seconds()
        async with asyncio.timeout(left_s), self._slots:
            return await self._backend.submit(specs)

    @property
    def _begins_as(self) -> State:
        capacity = self._watch.view().capacity
        return State.QUEUED if capacity is not None and capacity.queues else State.STARTING

    async def _cancel(self, job_ids: Sequence[str]) -> None:
        async with self._slots, asyncio.timeout(CALL_TIMEOUT_S):
            await self._backend.cancel(job_ids)

    async def _forget(self, job_ids: Sequence[str]) -> None:
        try:
            async with self._slots, asyncio.timeout(CALL_TIMEOUT_S):
                await self._backend.forget(job_ids)
        finally:
            self._forgetting.difference_update(job_ids)


def _ensure_home(home: Path | None) -> None:
    """A person's own folder is there before their first job starts in it."""
    try:
        if home is not None:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotRunnable(f"The folder {home} cannot be made: {error.strerror}.") from error


def _outcome(
    job: Job, accepted: Collection[str], refused: Mapping[str, Reason], begins_as: State, now: datetime
) -> Job:
    if job.id in refused:
        return end(job, now, reason=refused[job.id])
    return job.with_(state=begins_as) if job.id in accepted else job
