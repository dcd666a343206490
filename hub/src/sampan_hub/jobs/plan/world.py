"""What a plan is made from: what is recorded, what each backend last showed, and the rules of this installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sampan_hub.backends.base import Capacity, Listing
from sampan_hub.jobs.model import Cluster, Job


@dataclass(frozen=True, slots=True)
class Recorded:
    """Everything recorded that a plan depends on, of one revision."""

    revision: int = 0
    jobs: tuple[Job, ...] = ()
    """Every job that has not ended, in order of request."""
    ended: Mapping[str, datetime] = field(default_factory=dict)
    """Those ids shown alive by listings that are recorded as ended, and since when."""
    gone_parents: frozenset[str] = frozenset()
    """Parents (of jobs and clusters) that have ended or are wanted stopped."""
    known_parents: frozenset[str] = frozenset()
    """Parents that have a row."""
    clusters: tuple[Cluster, ...] = ()
    """Every cluster that has not ended."""
    gone_clusters: frozenset[str] = frozenset()
    """Clusters of those jobs that have ended."""


@dataclass(frozen=True, slots=True)
class CancelSent:
    """Cancels of one job so far: how many calls, and when the last went out."""

    count: int
    at: datetime


@dataclass(frozen=True, slots=True)
class BackendView:
    """What one backend last showed to this service."""

    name: str
    submit_timeout_s: float
    listings: tuple[Listing, ...] = ()
    """The last successful ones, oldest first; two are enough."""
    failing_since: datetime | None = None
    """When the first listing failed of those that failed since the last success."""
    capacity: Capacity | None = None
    """None until it was told: nothing is submitted then."""
    cancels: Mapping[str, CancelSent] = field(default_factory=dict)

    @property
    def latest(self) -> Listing | None:
        return self.listings[-1] if self.listings else None


@dataclass(frozen=True, slots=True)
class World:
    """All of it."""

    recorded: Recorded
    backends: Mapping[str, BackendView]
    up_since: datetime
    """Since when this service looks: leases and graces run only meanwhile."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The installation's figures."""

    instance: str
    signing_key: bytes
    unknown_grace: timedelta = timedelta(seconds=600)
    submit_grace: timedelta = timedelta(seconds=5)
    """Added to a backend's submit timeout before its silence may count."""
    unknown_after: timedelta = timedelta(seconds=5)
    """How long listings must fail before jobs are marked unknown."""
    lease_lost_after: timedelta = timedelta(seconds=60)
    start_limit: timedelta = timedelta(minutes=10)
    """How long a process may exist without a sign of life: a claim, and from a notebook an address."""
    idle_notebook: timedelta | None = None
    keep_logs: timedelta = timedelta(days=7)
    submit_at_most: int = 1000
    """Jobs per submit call."""
