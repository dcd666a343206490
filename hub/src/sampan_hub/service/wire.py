"""The shapes of API v1: what goes over HTTP, and nothing else. Golden messages: tests/wire.

Paths below `<base>services/sampan/api/v1`. Times are RFC 3339 UTC, memory is bytes, cores are thousandths, money is
micro-units of the site's currency, durations are seconds. Unknown fields in requests are refused; readers
ignore unknown fields in answers, so answers may grow within v1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{7,63}$")]


DEEPEST = 12
LONGEST_TEXT = 100_000
"""Characters of any one text in a request; keys and certificates are a few thousand."""


def _refuse_unstorable(value: Any, *place: str) -> None:
    """Text that no database and no environment can hold (NUL, half surrogate pairs), however deep it stands."""
    if len(place) > DEEPEST:
        raise ValueError(f"{'.'.join(place)}: nested too deep")
    match value:
        case str():
            if "\0" in value or (not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)):
                raise ValueError(f"{'.'.join(place)}: text may hold no NUL and no unpaired surrogate")
            if len(value) > LONGEST_TEXT:
                raise ValueError(f"{'.'.join(place)}: a text may have {LONGEST_TEXT} characters")
        case dict():
            for key, item in value.items():
                _refuse_unstorable(key, *place, "(name)")
                _refuse_unstorable(item, *place, key)
        case list():
            for index, item in enumerate(value):
                _refuse_unstorable(item, *place, str(index))


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        _refuse_unstorable(value, "body")
        return value


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(Answer):
    """RFC 9457 problem details; media type application/problem+json. One for every refusal and error.

    `code` is stable and for programs; `detail` is one or two sentences for people. For a limit: which one,
    what is used, what was asked, what the limit is and who can raise it.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    allowed: list[str] | None = None
    limit: str | None = None
    """e.g. `user.cores`; `used`, `asked` and `maximum` are in that limit's unit (thousandths, bytes, count)."""
    used: int | None = None
    asked: int | None = None
    maximum: int | None = None
    raised_by: str | None = None
    existing: str | None = None
    """The job that already has the name (`notebook-exists`)."""


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


class ReasonView(Answer):
    code: str
    text: str


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


class ClaimRequest(Request):
    """POST /jobs/{id}/claim with the bootstrap credential. `run` is the run identity's token."""

    run: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    host: Annotated[str, StringConstraints(max_length=255)]


class ClaimAnswer(Answer):
    """The first valid claim gets this (and again, if the same run asks again before it acknowledged by a report).

    Any other run gets 409 with code `exit`: it must end at once and touch nothing.
    """

    credential: str
    """`id.kind.mac`: replaces the bootstrap credential from here on."""
    kind: str
    name: str
    owner: str
    memory_bytes: int
    cores_milli: int
    env: dict[str, str]
    secrets: dict[str, str]
    expect: dict[str, str]
    scheduler: str | None = None
    """Worker: address of its cluster's scheduler (the claim waits for it, bounded; 503 + Retry-After then)."""


class ReportRequest(Request):
    """POST /jobs/{id}/report with the job's own credential. Every field is optional; absent means unchanged."""

    address: AddressReport | None = None
    busy: bool | None = None
    failure: ReasonReport | None = None
    """The job is about to end by itself and says why (memory limit, environment differs)."""


class AddressReport(Request):
    scheme: Literal["http", "https"] = "http"
    host: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    port: int = Field(ge=1, le=65535)


class ReasonReport(Request):
    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
    text: Annotated[str, StringConstraints(max_length=2000)]


class ClusterRequest(Request):
    """POST /clusters with a notebook's credential: make (or, same name and parent, find) a cluster row."""

    name: Name
    project: str | None = None
    size: str | None = None
    backend: str | None = None
    idle_timeout_s: int = Field(default=1200, ge=0, le=31_622_400)


class ClusterReport(Request):
    """PUT /clusters/{id} by its host: what workers and people need to know. Secrets stay out."""

    scheduler: Annotated[str, StringConstraints(max_length=500)] | None = None
    dashboard: Annotated[str, StringConstraints(max_length=500)] | None = None
    state: Literal["starting", "running", "closing"] | None = None
    busy: bool | None = None


class ClusterView(Answer):
    id: str
    name: str
    owner: str
    project: str
    parent: str | None
    state: Literal["starting", "running", "closing", "ended"]
    reason: ReasonView | None
    scheduler: str | None
    dashboard: str | None
    created_at: datetime
    lease_until: datetime | None
    ended_at: datetime | None
    idle_timeout_s: int
    revision: int


class ClusterAnswer(Answer):
    cluster: ClusterView
    credential: str
    """`<cluster id>.scheduler.<mac>`, the host's own: submit and see this cluster's workers, renew its lease."""


class SizeView(Answer):
    name: str
    cores_milli: int
    memory_bytes: int
    gpus: int
    price_micros_per_hour: int | None
    free_now: int | None
    """How many of this size would start at once; None where the backend does not say."""
    allowed_now: int


class OffersAnswer(Answer):
    """GET /offers: what the caller may choose from, everything a spawn form or `Cluster()` needs."""

    sizes: list[SizeView]
    default_size: str
    environments: list[str]
    projects: list[str]
    backends: list[str]
    currency: str | None
    paused: str | None
    waiting: int = 0
    """How many jobs already wait for room where the caller's next one would; nobody overtakes."""


class QuoteAnswer(Answer):
    """GET /quote?size=&n=: what `n` jobs of a size take and cost, and how many of them one may have now."""

    size: str
    n: int
    cores_milli: int
    memory_bytes: int
    gpus: int
    price_micros_per_hour: int | None
    currency: str | None
    allowed_now: int


class WhoamiAnswer(Answer):
    """GET /whoami: how the service takes this request. `kind`: a credential's kind, or `user`."""

    kind: str
    subject: str
    owner: str | None
    admin: bool
    version: str
    instance: str


class FailureView(Answer):
    """A job that ended, or was given up, without anybody asking for it."""

    id: str
    kind: str
    name: str
    cluster: str | None
    """Its cluster's name."""
    text: str
    at: datetime


class SessionAnswer(Answer):
    """GET /session with a notebook's credential: what its person should always see, in few bytes.

    The figures are sums over everything the person runs, other servers included; the price is of what has started,
    and None where nothing has one. Failures are this notebook's own of the last hour, newest first.
    """

    jobs: int
    cores_milli: int
    memory_bytes: int
    gpus: int
    price_micros_per_hour: int | None
    currency: str | None
    idle_end_at: datetime | None
    """When this notebook is stopped if nothing is run until then; None while it works."""
    paused: str | None
    failures: list[FailureView]


class FindingView(Answer):
    code: str
    subject: str
    text: str
    remedy: str
    backend: str


class FindingsAnswer(Answer):
    """GET /findings (admin): what an administrator should look at, each with its remedy."""

    findings: list[FindingView]


class PauseAnswer(Answer):
    """GET and PUT /pause; null: new work is taken."""

    sentence: str | None


class ClustersAnswer(Answer):
    """GET /clusters: open ones, and those that ended in the last hour; oldest first."""

    clusters: list[ClusterView]


class LogAnswer(Answer):
    """GET /jobs/{id}/log?lines=N."""

    lines: list[str]
    truncated: bool


class PauseRequest(Request):
    """PUT /pause (admin); null takes new work again."""

    sentence: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None


JobsAnswer.model_rebuild()
ReportRequest.model_rebuild()
