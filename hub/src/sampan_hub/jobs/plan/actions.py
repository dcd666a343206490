"""What a plan may ask for. What changes a row says what it expects to find; a lost race is skipped and re-planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sampan_hub.backends.base import Observed
from sampan_hub.jobs.model import Finding, Job, Reason


@dataclass(frozen=True, slots=True)
class Record:
    """Write `after` where the row still is `before` (compared by revision)."""

    before: Job
    after: Job


@dataclass(frozen=True, slots=True)
class Submit:
    """Record these accepted jobs as submitting, then make one call for those that were still accepted."""

    backend: str
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the backend for the end of these keys; nothing is recorded by it."""

    backend: str
    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndCluster:
    """Record a cluster's end if neither its row nor its lease changed meanwhile."""

    cluster_id: str
    revision: int
    lease_until: datetime | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make a row for what runs under our signature without one."""

    backend: str
    observed: Observed


@dataclass(frozen=True, slots=True)
class Report:
    """Everything an administrator should know of one backend now: replaces what was reported before."""

    backend: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Let the backend drop what it keeps of these ended jobs: the retention time is over."""

    backend: str
    job_ids: tuple[str, ...]


Action = Record | Submit | Cancel | EndCluster | Adopt | Report | Forget
