"""Messages about jobs: asking for them, seeing them, stopping them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sampan_hub.service.wire.base import Answer, Key, Problem, ReasonView, Request
from sampan_hub.service.wire.clusters import ClusterView


class JobBase(Request):
    """What all jobs of a batch share. `owner` may be given by the hub alone; others submit for themselves."""

    kind: Literal["notebook", "scheduler", "worker"]
    size: str | None = None
    project: str | None = None
    environment: str | None = None
    backend: str | None = None
    owner: str | None = None
    cluster: str | None = None
    interpreter: str | None = None
    """Absolute path of the Python that runs the entry point; default: the environment's."""
    folder: str | None = None
    """Working directory; default: the owner's."""
    env: dict[str, str] = Field(default_factory=dict)
    """Not secret, visible to whoever may see the job."""
    secrets: dict[str, str] = Field(default_factory=dict)
    """Kept encrypted until the claim, handed to the claiming run, then erased."""
    expect: dict[str, str] = Field(default_factory=dict)
    """Package -> version the job must have (workers: the kernel's)."""


class JobItem(Request):
    name: str = ""
    size: str | None = None


class SubmitRequest(Request):
    """POST /jobs. `batch` is the caller's idempotency key: same key and content answers the same jobs again."""

    batch: Key
    base: JobBase
    items: list[JobItem] = Field(min_length=1, max_length=10_000)
    strict: bool = False


class AddressView(Answer):
    scheme: str
    host: str
    port: int


class ExitView(Answer):
    code: int | None
    signal: int | None
    peak_memory_bytes: int | None


class JobView(Answer):
    """One job, as its owner, its admin and the hub see it."""

    id: str
    kind: str
    name: str
    owner: str
    tenant: str
    project: str
    size: str
    cores_milli: int
    memory_bytes: int
    gpus: int
    environment: str
    backend: str
    batch: str
    index: int
    parent: str | None
    cluster: str | None
    wanted: str
    state: str
    state_since: datetime
    reason: ReasonView | None
    position: int | None
    """Place in the queue for the backend, from 1; None when not waiting."""
    unknown_since: datetime | None
    lost: bool
    created_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    deadline: datetime | None
    """When its backend ends it, should it still run then (its walltime); None where none is announced."""
    address: AddressView | None
    exit: ExitView | None
    price_micros_per_hour: int | None
    cost_micros: int | None
    busy: bool
    """What the job last said of itself; `busy_at`: when it last reported work, or its end."""
    busy_at: datetime | None
    revision: int


class ItemAnswer(Answer):
    """One per item, in request order: `job` when accepted, `problem` when refused."""

    index: int
    status: Literal["accepted", "refused"]
    job: JobView | None = None
    problem: Problem | None = None


class SubmitAnswer(Answer):
    batch: str
    items: list[ItemAnswer]
    allowed_now: int
    """How many more jobs of this size the caller could have at this moment (0 after a refusal by limit)."""
    revision: int


class JobsAnswer(Answer):
    """GET /jobs: the full state of what was asked for, never a difference.

    `revision=N&wait=S` answers as soon as anything in the selection is newer than N, or after S seconds.
    """

    revision: int
    jobs: list[JobView]
    clusters: list[ClusterView] = Field(default_factory=list)
    allowed_now: int | None = None
    paused: str | None = None


class StopRequest(Request):
    """POST /jobs/stop."""

    ids: list[Annotated[str, StringConstraints(max_length=64)]] = Field(min_length=1, max_length=10_000)
    reason: Annotated[str, StringConstraints(max_length=500)] = "asked"


class StopItem(Answer):
    id: str
    status: Literal["stopping", "ended", "refused"]
    problem: Problem | None = None


class StopAnswer(Answer):
    items: list[StopItem]
    revision: int


class LogAnswer(Answer):
    """GET /jobs/{id}/log?lines=N."""

    lines: list[str]
    truncated: bool
