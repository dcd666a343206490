"""What a job is: its states, the moves between them, and the plain record everything else passes around.

Nothing here touches a database, a clock or a backend.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a job computes; also the scope of its credential."""

    NOTEBOOK = "notebook"
    SCHEDULER = "scheduler"
    WORKER = "worker"


class State(StrEnum):
    """What is known to be true of a job. `unknown` and `lost` are marks beside it, never states."""

    ACCEPTED = "accepted"
    """Admitted and recorded; nothing was sent to the backend, or it is certain that nothing arrived."""
    SUBMITTING = "submitting"
    """A submit call is out, or was out and its outcome is not known."""
    QUEUED = "queued"
    """The backend holds it and has not started it."""
    STARTING = "starting"
    """Its process exists and has not yet said that it is ready."""
    RUNNING = "running"
    """It claimed (and a notebook reported its address)."""
    STOPPING = "stopping"
    """A stop was asked of the backend and is not confirmed."""
    ENDED = "ended"
    """There is positive evidence that it does not run and will not."""


class Wanted(StrEnum):
    """What its owner asked for."""

    RUN = "run"
    STOP = "stop"


MOVES: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset(
        {State.SUBMITTING, State.QUEUED, State.STARTING, State.RUNNING, State.STOPPING, State.ENDED}
    ),
    State.SUBMITTING: frozenset(
        {State.ACCEPTED, State.QUEUED, State.STARTING, State.RUNNING, State.STOPPING, State.ENDED}
    ),
    State.QUEUED: frozenset({State.STARTING, State.RUNNING, State.STOPPING, State.ENDED}),
    State.STARTING: frozenset({State.QUEUED, State.RUNNING, State.STOPPING, State.ENDED}),
    State.RUNNING: frozenset({State.STOPPING, State.ENDED}),
    State.STOPPING: frozenset({State.ENDED}),
    State.ENDED: frozenset(),
}
"""Every legal move. `submitting -> accepted` only after two full listings begun late enough (see `plan`).

`accepted` may also become what the backend or a claim shows: a submit call that took effect later than anybody
promised, or a database restored from a backup, is recorded as what it is and not submitted again."""


def is_legal(before: State, after: State) -> bool:
    """Whether a job in `before` may be recorded as `after`; staying is always legal."""
    return before is after or after in MOVES[before]


@dataclass(frozen=True, slots=True)
class Resources:
    """What one job of a size takes. `cores_milli`: thousandths of a core."""

    cores_milli: int
    memory_bytes: int
    gpus: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cores_milli + other.cores_milli,
            self.memory_bytes + other.memory_bytes,
            self.gpus + other.gpus,
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job is in its state: a stable `code` (kebab-case) and one sentence for its owner."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """One execution of a job, told apart from every other on every machine.

    `token` is the backend's own spelling: Slurm job id + task + restart count + start time; pod UID;
    pid + start time + boot id. Two identities are the same run exactly when their tokens are equal.
    """

    token: str


@dataclass(frozen=True, slots=True)
class Exit:
    """How a job's process ended, as far as anybody recorded it."""

    code: int | None = None
    signal: int | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a job listens, accepted only after the backend showed the listener to be the job's own."""

    host: str
    port: int
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the store records it. Times are timezone-aware UTC; money is micro-units of the site's currency."""

    id: str
    """`<instance>.<random>`: the key under which every backend keeps it."""
    kind: Kind
    name: str
    """Notebook: the JupyterHub server name ('' is the default server). Worker: its Dask name."""
    owner: str
    project: str
    size: str
    resources: Resources
    environment: str
    backend: str
    batch: str
    index: int
    created_at: datetime
    tenant: str = ""
    parent: str | None = None
    """The job whose end ends this one."""
    cluster: str | None = None
    wanted: Wanted = Wanted.RUN
    state: State = State.ACCEPTED
    state_since: datetime | None = None
    attempt: int = 0
    """How many submit calls went out; each is made at most once per (job, attempt)."""
    reason: Reason | None = None
    unknown_since: datetime | None = None
    """Set while the backend cannot be asked, or did not show the job, and its end is not proven."""
    lost: bool = False
    """Unknown for longer than the grace: frees limits and name, still observed and to be stopped."""
    last_seen_at: datetime | None = None
    run: RunIdentity | None = None
    """The one execution that may work under this id: bound by the first valid claim."""
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline: datetime | None = None
    """When its backend ends it, should it still run then (its walltime)."""
    address: Address | None = None
    exit: Exit | None = None
    price_micros_per_hour: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """What its entry point needs and is no secret: interpreter, folder, extra environment."""
    busy: bool = False
    """What the job last said of itself."""
    busy_at: datetime | None = None
    """When the job last reported work, or its end (kernel execution, tasks)."""
    position: int | None = None
    """Place in the queue for the backend, from 1; None when not waiting."""
    revision: int = 0

    @property
    def is_ended(self) -> bool:
        return self.state is State.ENDED

    @property
    def holds_limits(self) -> bool:
        """Whether it counts against its owner's limits and occupies its name."""
        return self.state is not State.ENDED and not self.lost

    def with_(self, **changes: Any) -> Job:
        return replace(self, **changes)


class ClusterState(StrEnum):
    """What a cluster's host said of it, and `ended`, which the service decides or the host asks for."""

    STARTING = "starting"
    RUNNING = "running"
    CLOSING = "closing"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A scheduler with a lease: the host beside the notebook renews it, and its workers are jobs with its id."""

    id: str
    name: str
    owner: str
    project: str
    created_at: datetime
    state: ClusterState
    state_since: datetime
    tenant: str = ""
    parent: str | None = None
    """The notebook whose end ends the cluster."""
    size: str = ""
    backend: str = ""
    reason: Reason | None = None
    scheduler: str | None = None
    dashboard: str | None = None
    lease_until: datetime | None = None
    busy_at: datetime | None = None
    ended_at: datetime | None = None
    idle_timeout_s: int = 1200
    revision: int = 0

    @property
    def is_ended(self) -> bool:
        return self.state is ClusterState.ENDED


@dataclass(frozen=True, slots=True)
class Finding:
    """Something an administrator should look at: `subject` names it, `remedy` says what to do."""

    code: str
    subject: str
    text: str
    remedy: str
    backend: str = ""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One recorded change of a job's state or of what is wanted of it."""

    job_id: str
    at: datetime
    state: State
    wanted: Wanted
    by: str
    reason: Reason | None
    revision: int
