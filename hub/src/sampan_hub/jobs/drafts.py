"""What goes into the store and comes out of it, beside jobs themselves: plain records and the errors callers handle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sampan_hub.jobs.model import Address, Job, Kind, Reason, Resources, State


class StoreError(Exception):
    """A request the store will not carry out; the message says which id and what to do next."""


class NoSuchJob(StoreError):
    """No job has this id."""


class NoSuchCluster(StoreError):
    """No cluster has this id."""


class BatchConflict(StoreError):
    """The same submitter used the same batch key before, for other content."""


class ClaimRefused(StoreError):
    """This run may not work under the job's id and must end at once: `code` says why."""

    def __init__(self, job_id: str, code: str, text: str) -> None:
        super().__init__(f"{job_id}: {text}")
        self.job_id = job_id
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """One job asked for, its size already looked up."""

    name: str
    size: str
    resources: Resources
    price_micros_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class BatchDraft:
    """Jobs asked for together, everything but the limits already decided.

    `submitter` scopes `key`: the credential's subject or `user:<name>`. `tenant` and `project` together name who
    pays; a personal project must differ by tenant (the owner's name) so that limits are counted apart.
    """

    key: str
    submitter: str
    kind: Kind
    owner: str
    project: str
    environment: str
    backend: str
    items: tuple[ItemDraft, ...]
    tenant: str = ""
    parent: str | None = None
    cluster: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """`interpreter`, `folder`, `env`, `expect`: what `spec` reads, no secrets, JSON values only."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one item was not accepted: for a limit which one, its use, the ask, the maximum and who can raise it.

    Codes: `over-limit`, `notebook-exists` and `host-exists` (with `existing`), `paused`, `parent-ended`, `strict`
    (others did not fit).
    """

    code: str
    text: str
    limit: str | None = None
    used: int | None = None
    asked: int | None = None
    maximum: int | None = None
    raised_by: str | None = None
    existing: str | None = None


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """One per item, in request order: exactly one of `job` and `refusal`."""

    index: int
    job: Job | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """`batch` is the public id (`Job.batch`, the subject of its bootstrap credential)."""

    batch: str
    items: tuple[ItemOutcome, ...]
    allowed_now: int
    """How many more jobs of the last item's size the owner could have now."""
    revision: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs. None: any. Ended jobs are left out unless `states` or `ids` name them or `ended_after` tells."""

    ids: tuple[str, ...] | None = None
    owner: str | None = None
    kind: Kind | None = None
    name: str | None = None
    cluster: str | None = None
    parent: str | None = None
    backend: str | None = None
    batch: str | None = None
    states: frozenset[State] | None = None
    ended_after: datetime | None = None
    """Also jobs that ended after this."""
    limit: int | None = None
    """The newest this many."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the claiming run is handed beside its credential."""

    job: Job
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """What a job says of itself; None: unchanged."""

    address: Address | None = None
    busy: bool | None = None
    failure: Reason | None = None


@dataclass(frozen=True, slots=True)
class ClusterDraft:
    """A cluster asked for by a notebook (or by a person: `parent` None)."""

    name: str
    owner: str
    project: str
    tenant: str = ""
    parent: str | None = None
    size: str = ""
    backend: str = ""
    idle_timeout_s: int = 1200
