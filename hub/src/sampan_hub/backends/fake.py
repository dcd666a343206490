"""A backend of jobs that only pretend to run: for load tests, benchmarks, and every fault a real one may show."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sampan_hub.backends.base import (
    BackendError,
    Capacity,
    Expected,
    Identity,
    JobSpec,
    Listing,
    LogTail,
    Observed,
    Pace,
    Phase,
    Submitted,
)
from sampan_hub.jobs.model import Exit, Reason, Resources, RunIdentity

NOTHING = Resources(0, 0, 0)
WALLTIME = Reason("walltime", "Its time was up: it ran for as long as its walltime allowed.")
NOT_THERE = LogTail((), truncated=False)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Faults:
    """What goes wrong. Counters by call name: `submit`, `cancel`, `observe`."""

    fail: Counter[str] = field(default_factory=Counter)
    """The next so many calls fail without any effect."""
    lose_reply: Counter[str] = field(default_factory=Counter)
    """The next so many calls take effect, and then fail."""
    ignore_cancels: int = 0
    """The next so many cancels are answered and forgotten."""
    refuse: dict[str, Reason] = field(default_factory=dict)
    """Job names that are refused."""
    listing_delay_s: float = 0.0
    """Between a look and its answer."""
    hidden: set[str] = field(default_factory=set)
    """Jobs that run and are not listed."""

    def before(self, call: str) -> None:
        if self.fail[call] > 0:
            self.fail[call] -= 1
            raise BackendError(f"fake: {call} failed as told, without effect")

    def after(self, call: str) -> None:
        if self.lose_reply[call] > 0:
            self.lose_reply[call] -= 1
            raise BackendError(f"fake: the reply to {call} was lost as told")


@dataclass(frozen=True, slots=True)
class Pretended:
    """One virtual process."""

    identity: Identity
    run: RunIdentity
    starts_at: datetime
    deadline: datetime | None = None
    ended_at: datetime | None = None
    exit: Exit | None = None
    reason: Reason | None = None

    def phase(self, now: datetime) -> Phase:
        if self.ended_at is not None:
            return Phase.ENDED
        return Phase.RUNNING if now >= self.starts_at else Phase.QUEUED


class FakeBackend:
    """Keeps the contract of `backends.base` with jobs in memory; several services may share one object."""

    pace = Pace(moving_s=0.5, steady_s=2.0, empty_s=5.0)

    def __init__(
        self,
        name: str = "fake",
        *,
        start_delay_s: float = 0.0,
        walltime_s: float | None = None,
        submit_timeout_s: float = 5.0,
        queues: bool = True,
        total: Resources | None = None,
        complete_history: bool = True,
        faults: Faults | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self.submit_timeout_s = submit_timeout_s
        self.faults = faults or Faults()
        self.runs_begun: Counter[str] = Counter()
        """How many processes each key ever had: more than one is a duplicate."""
        self._start_delay = timedelta(seconds=start_delay_s)
        self.walltime = None if walltime_s is None else timedelta(seconds=walltime_s)
        """For how long a job that begins from now on may run."""
        self._queues = queues
        self._total = total
        self._complete_history = complete_history
        self._clock = clock
        self._jobs: dict[str, Pretended] = {}
        self._numbers = itertools.count(1)

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        """Start every job that is not refused; see the contract."""
        self.faults.before("submit")
        refused = {
            spec.job_id: self.faults.refuse[spec.identity.name]
            for spec in batch
            if spec.identity.name in self.faults.refuse
        }
        for spec in batch:
            if spec.job_id not in refused and spec.job_id not in self._jobs:
                self._begin(spec.identity)
        self.faults.after("submit")
        return Submitted(frozenset(spec.job_id for spec in batch) - refused.keys(), refused)

    def _begin(self, identity: Identity) -> None:
        run = RunIdentity(f"fake-{next(self._numbers)}")
        starts_at = self._clock() + self._start_delay
        deadline = None if self.walltime is None else starts_at + self.walltime
        self._jobs[identity.job_id] = Pretended(identity, run, starts_at, deadline)
        self.runs_begun[identity.job_id] += 1

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """End these jobs; see the contract."""
        self.faults.before("cancel")
        if self.faults.ignore_cancels > 0:
            self.faults.ignore_cancels -= 1
            return
        for job_id in job_ids:
            self.finish(job_id, Exit(signal=15))
        self.faults.after("cancel")

    async def observe(self, expected: Collection[Expected] = ()) -> Listing:  # noqa: ARG002 - nothing is forgotten here
        """Everything that pretends to run, and what ended unless history is incomplete."""
        self.faults.before("observe")
        begun_at = self._clock()
        self._end_overdue(begun_at)
        jobs = tuple(
            self._show(pretended, begun_at)
            for job_id, pretended in self._jobs.items()
            if job_id not in self.faults.hidden
        )
        if self.faults.listing_delay_s:
            await asyncio.sleep(self.faults.listing_delay_s)
        self.faults.after("observe")
        return Listing(self.name, begun_at, self._clock(), jobs, self._complete_history)

    def _end_overdue(self, now: datetime) -> None:
        for job_id, job in list(self._jobs.items()):
            if job.deadline is not None and now >= job.deadline:
                self.finish(job_id, Exit(signal=15), WALLTIME)

    def _show(self, pretended: Pretended, now: datetime) -> Observed:
        phase = pretended.phase(now)
        return Observed(
            job_id=pretended.identity.job_id,
            phase=phase,
            owner=pretended.identity.owner,
            identity=pretended.identity,
            run=None if phase is Phase.QUEUED else pretended.run,
            started_at=None if phase is Phase.QUEUED else pretended.starts_at,
            ended_at=pretended.ended_at,
            exit=pretended.exit,
            reason=pretended.reason,
            deadline=None if phase is Phase.QUEUED else pretended.deadline,
        )

    async def read_log(self, job_id: str, lines: int) -> LogTail:
        """Jobs that pretend say one line."""
        known = self._jobs.get(job_id)
        return LogTail((f"{job_id} pretends to run",)[-lines:], truncated=False) if known else NOT_THERE

    async def capacity(self) -> Capacity:
        """What it was made with, less what pretends to run."""
        if self._total is None:
            return Capacity(total=None, free=None, queues=self._queues)
        used = sum((job.identity.resources for job in self._jobs.values() if job.ended_at is None), NOTHING)
        free = Resources(
            self._total.cores_milli - used.cores_milli,
            self._total.memory_bytes - used.memory_bytes,
            self._total.gpus - used.gpus,
        )
        return Capacity(total=self._total, free=free, queues=self._queues)

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:  # noqa: ARG002 - the contract's names
        """Nothing here listens, so nothing is anybody's."""
        return False

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Drop ended jobs."""
        for job_id in job_ids:
            if job_id in self._jobs and self._jobs[job_id].ended_at is not None:
                del self._jobs[job_id]

    # What only a pretended world can do

    def running(self) -> frozenset[str]:
        """The keys of every process that has not ended, listed or not."""
        return frozenset(job_id for job_id, job in self._jobs.items() if job.ended_at is None)

    def run_of(self, job_id: str) -> RunIdentity:
        """The run identity of a job's process."""
        return self._jobs[job_id].run

    def finish(self, job_id: str, exit_: Exit, reason: Reason | None = None) -> None:
        """A process ends by itself, if it is there and has not. Without a history its key is then free again."""
        job = self._jobs.get(job_id)
        if job is None or job.ended_at is not None:
            return
        if not self._complete_history:
            del self._jobs[job_id]
        else:
            self._jobs[job_id] = replace(job, ended_at=self._clock(), exit=exit_, reason=reason)

    def plant(self, identity: Identity) -> None:
        """A process that nobody here submitted."""
        self._begin(identity)
