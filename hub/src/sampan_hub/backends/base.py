"""The contract every backend keeps. The same suite (tests/contract) runs against all of them.

A backend knows jobs by key and nothing of tokens, clusters, prices or people's limits. It *raises* when it
cannot answer; it never answers "gone" for "I could not look".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from sampan_hub.jobs.model import Exit, Kind, Reason, Resources, RunIdentity


class BackendError(Exception):
    """The backend could not do or tell what was asked: which call, what failed, what to do next.

    After it nothing is known: a submit may or may not have arrived, a job may or may not run.
    """


class Refused(BackendError):
    """The backend looked at one job and will never run it; resubmitting the same job is pointless."""

    def __init__(self, job_id: str, reason: Reason) -> None:
        super().__init__(f"{job_id}: {reason.text}")
        self.job_id = job_id
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """What travels with a job where the backend cannot lose it, covered by `signature`.

    A listing that shows an identity with our instance, a valid signature and no row in the store is adopted.
    """

    job_id: str
    kind: Kind
    name: str
    owner: str
    project: str
    tenant: str
    size: str
    environment: str
    parent: str | None
    cluster: str | None
    batch: str
    index: int
    resources: Resources
    price_micros_per_hour: int | None
    uid: int
    created_at: datetime
    signature: str = ""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job to run. `argv` is run as it is, never through a shell."""

    identity: Identity
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """Added to a small clean environment; never a secret."""
    folder: str
    """Working directory of the process."""
    private_files: Mapping[str, bytes] = field(default_factory=dict)
    """Name -> content, put 0600 into a 0700 folder that the job finds as $SAMPAN_JOB_DIR."""

    @property
    def job_id(self) -> str:
        return self.identity.job_id


@dataclass(frozen=True, slots=True)
class Submitted:
    """Per-job outcome of a submit call. A job in neither is unknown: only a listing tells."""

    accepted: frozenset[str]
    refused: Mapping[str, Reason] = field(default_factory=dict)


class Phase(StrEnum):
    """What a listing can say of one job."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """Listed, but in a state the backend's table does not know: changes nothing."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One of our jobs as the backend itself shows it."""

    job_id: str
    phase: Phase
    owner: str
    identity: Identity | None = None
    """As carried by the backend; None where it is missing or unreadable. Never trusted before its signature is."""
    run: RunIdentity | None = None
    reason: Reason | None = None
    position: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit: Exit | None = None
    deadline: datetime | None = None
    """When the backend ends it, should it still run then (its walltime). None: it may run on."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A job that is recorded as present: whoever can look up single jobs does so for those its listing lacks."""

    job_id: str
    batch: str
    index: int
    since: datetime
    """When it was asked for: its records are not older."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a backend likes to be listed."""

    moving_s: float
    """While some of its jobs wait, start or stop."""
    steady_s: float
    empty_s: float
    gap_s: float = 0.1
    """Between two listings, however often one is asked for."""
    patient: bool = False
    """A call that succeeded, or a job that is new, is no reason to look before `moving_s` is over."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One full, successful look at the backend: everything that carries our instance id.

    `complete_history`: ended jobs stay visible long enough that absence never needs to prove an end
    (the local records, Slurm accounting). Without it, absence from two full listings may.
    """

    backend: str
    begun_at: datetime
    finished_at: datetime
    jobs: tuple[Observed, ...]
    complete_history: bool
    leftovers: tuple[str, ...] = ()
    """Whatever else of ours was found there (folders, orphan process groups), in words, for `sampan check`."""
    troubles: tuple[str, ...] = ()
    """What an administrator should know of this look although it succeeded: sentences."""
    is_settled: bool = True
    """False: something of it is about to be known, so the next look should follow soon."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the backend has in all and free now. None: it does not say."""

    total: Resources | None
    free: Resources | None
    queues: bool
    """True: it has a queue of its own and takes any job. False: the service submits only what fits."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last lines of a job's output. `truncated`: there was more before."""

    lines: tuple[str, ...]
    truncated: bool


class Backend(Protocol):
    """A named place jobs run. All methods are asynchronous, cancellable, bounded in time, and raise BackendError."""

    name: str
    pace: Pace
    submit_timeout_s: float
    """After this long a submit call that did not answer can no longer take effect (plus the planner's grace)."""

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        """Start or enqueue every job of the batch; identity is on record before anything runs.

        A second submit of a key the backend already holds starts nothing and reports it accepted.
        """

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """Ask for the end of these jobs, whole process trees. Idempotent; unknown or ended ids are no error.

        Returning says that the request was delivered, not that the jobs are gone: `observe` says that.
        """

    async def observe(self, expected: Collection[Expected] = ()) -> Listing:
        """One full listing. Raises when any part of it could not be read.

        `expected`: what should be there. A backend whose listing forgets what ended looks those up that it lacks.
        """

    async def read_log(self, job_id: str, lines: int) -> LogTail:
        """The end of the job's output, also after it ended, for as long as output is kept."""

    async def capacity(self) -> Capacity:
        """Total and free resources."""

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:
        """Whether the process listening at host:port belongs to this very job and to nothing else of ours."""

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Remove what is kept for ended jobs (records, output). Called after the retention time."""


@runtime_checkable
class Announcing(Protocol):
    """A backend that is told of changes, so that it need not be looked at often to be looked at in time."""

    def announce(self, changed: Callable[[], None]) -> None:
        """Call `changed`, on the event loop, whenever `observe` may show something new. What was said last counts."""


@runtime_checkable
class Closing(Protocol):
    """A backend that holds connections or tasks of its own."""

    async def aclose(self) -> None:
        """Let go of them; jobs go on."""
