"""Jobs and clusters as the pages show them: servers, clusters with their workers, what ended. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from sampan_hub.jobs.model import Cluster, ClusterState, Job, Kind, State, Wanted
from sampan_hub.look import words
from sampan_hub.service.views import cost_micros

SHOWN_ENDED = 20

_STATE = {
    State.ACCEPTED: ("waiting", "warning"),
    State.SUBMITTING: ("being started", "info"),
    State.QUEUED: ("queued", "warning"),
    State.STARTING: ("starting", "info"),
    State.RUNNING: ("running", "success"),
    State.STOPPING: ("stopping", "secondary"),
    State.ENDED: ("ended", "secondary"),
}
_CLUSTER_STATE = {
    ClusterState.STARTING: ("starting", "info"),
    ClusterState.RUNNING: ("running", "success"),
    ClusterState.CLOSING: ("closing", "secondary"),
    ClusterState.ENDED: ("ended", "secondary"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One job. `tone` is Bootstrap's name for how its state looks."""

    id: str
    kind: str
    name: str
    owner: str
    project: str
    size: str
    facts: list[str]
    state: str
    tone: str
    reason: str | None
    since: datetime
    cost_micros: int | None
    is_ended: bool
    can_stop: bool
    open_url: str | None = None
    deadline: datetime | None = None
    """When its walltime ends it; None where it may run on, or has ended."""


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster; its figures are those of its workers that have not ended."""

    id: str
    name: str
    owner: str
    state: str
    tone: str
    reason: str | None
    since: datetime
    counts: str
    facts: list[str]
    cost_micros: int | None
    can_stop: bool
    workers: list[Row]
    """And its scheduler, where that is a job."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one page shows. `held`: what all of it takes now."""

    servers: list[Row]
    clusters: list[ClusterRow]
    others: list[Row]
    """Workers whose cluster is not there (any more)."""
    ended: list[Row]
    held: list[str]
    price_micros_per_hour: int | None
    cost_micros: int | None
    owners: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.servers or self.clusters or self.others)


def arrange(jobs: Sequence[Job], clusters: Sequence[Cluster], prefix: str, now: datetime) -> Work:
    """Everything in its place, in order of request; what ended lately newest first. `prefix`: people's path."""
    alive = [job for job in jobs if not job.is_ended]
    there = {cluster.id for cluster in clusters if not cluster.is_ended}
    mine = {cluster_id: [job for job in jobs if job.cluster == cluster_id] for cluster_id in there}
    ended = sorted((job for job in jobs if job.is_ended), key=lambda job: job.ended_at or now, reverse=True)
    held = [job for job in alive if job.holds_limits]
    return Work(
        servers=[make_row(job, prefix, now) for job in alive if job.kind is Kind.NOTEBOOK],
        clusters=[_cluster_row(one, mine[one.id], prefix, now) for one in clusters if one.id in there],
        others=[
            make_row(job, prefix, now) for job in alive if job.kind is not Kind.NOTEBOOK and job.cluster not in there
        ],
        ended=[make_row(job, prefix, now) for job in ended[:SHOWN_ENDED]],
        held=_facts(held),
        price_micros_per_hour=_sum(job.price_micros_per_hour for job in held if job.started_at is not None),
        cost_micros=_sum(cost_micros(job, now) for job in jobs),
        owners=sorted({job.owner for job in alive}),
    )


def make_row(job: Job, prefix: str, now: datetime) -> Row:
    """One job as it is shown."""
    state, tone = _STATE[job.state]
    if job.lost:
        state, tone = "lost", "danger"
    elif job.unknown_since is not None and not job.is_ended:
        state, tone = f"{state}, out of sight", "warning"
    elif job.wanted is Wanted.STOP and not job.is_ended:
        state, tone = "stopping", "secondary"
    if job.is_ended and _has_failed(job):
        state, tone = "failed", "danger"
    is_open = job.kind is Kind.NOTEBOOK and job.state is State.RUNNING and job.wanted is Wanted.RUN
    return Row(
        id=job.id,
        kind=job.kind.value,
        name="scheduler" if job.kind is Kind.SCHEDULER else job.name or "default server",
        owner=job.owner,
        project=job.project,
        size=job.size,
        facts=_facts([job]),
        state=state,
        tone=tone,
        reason=_reason(job),
        since=job.state_since or job.created_at,
        cost_micros=cost_micros(job, now),
        is_ended=job.is_ended,
        can_stop=not job.is_ended and job.wanted is Wanted.RUN,
        open_url=f"{prefix}user/{quote(job.owner, safe='@~')}/{quote(job.name)}" if is_open else None,
        deadline=None if job.is_ended else job.deadline,
    )


def matches(row: Row, text: str) -> bool:
    """Whether every word of a filter is found in what the row says."""
    said = " ".join((row.id, row.kind, row.name, row.owner, row.project, row.size, row.state, row.reason or "")).lower()
    return all(word in said for word in text.lower().split())


def _cluster_row(cluster: Cluster, jobs: Sequence[Job], prefix: str, now: datetime) -> ClusterRow:
    alive = [job for job in jobs if not job.is_ended]
    rows = [make_row(job, prefix, now) for job in alive]
    state, tone = _CLUSTER_STATE[cluster.state]
    return ClusterRow(
        id=cluster.id,
        name=cluster.name,
        owner=cluster.owner,
        state=state,
        tone=tone,
        reason=cluster.reason.text if cluster.reason else _common_reason(rows),
        since=cluster.state_since,
        counts=_counts([row for row in rows if row.kind == Kind.WORKER]),
        facts=_facts(alive) if alive else [],
        cost_micros=_sum(cost_micros(job, now) for job in jobs),
        can_stop=not cluster.is_ended,
        workers=rows,
    )


def _reason(job: Job) -> str | None:
    text = job.reason.text if job.reason else None
    if job.position is None or job.is_ended:
        return text
    place = f"Place {job.position} in the queue."
    return f"{place} {text}" if text else place


def _common_reason(workers: Iterable[Row]) -> str | None:
    """Why some of its workers are not there yet, said once."""
    return next((row.reason for row in workers if row.reason and row.state in ("waiting", "queued")), None)


def _has_failed(job: Job) -> bool:
    """Whether it ended otherwise than by being asked to, or by finishing."""
    if job.wanted is Wanted.STOP:
        return False
    return job.exit is None or bool(job.exit.code or job.exit.signal)


def _counts(workers: Sequence[Row]) -> str:
    if not workers:
        return "no workers now"
    states = Counter(row.state for row in workers)
    parts = ", ".join(f"{number} {state}" for state, number in states.most_common())
    return f"{words.count(len(workers), 'worker')}: {parts}"


def _facts(jobs: Sequence[Job]) -> list[str]:
    return words.resources(
        sum(job.resources.cores_milli for job in jobs),
        sum(job.resources.memory_bytes for job in jobs),
        sum(job.resources.gpus for job in jobs),
    )


def _sum(amounts: Iterable[int | None]) -> int | None:
    """The sum of what is known; None where nothing is priced."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
