"""Messages about the installation: what one may choose, what it costs, who one is, what needs attention."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from sampan_hub.service.wire.base import Answer, Request


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
    backend: str = ""
    """Whose room `free_now` and `waiting` tell, and for which `sizes` are: the one asked for, or had without asking."""
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
    deadline: datetime | None
    """When this notebook's backend ends it, whatever runs (its walltime); None where none is announced."""
    walltime_notice_s: int
    """How long before that its person is told."""
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


class PauseRequest(Request):
    """PUT /pause (admin); null takes new work again."""

    sentence: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None
