"""From records to the shapes that go over HTTP. Pure."""

from __future__ import annotations

from datetime import datetime

from sampan_hub.jobs.drafts import BatchOutcome, ItemOutcome, Refusal
from sampan_hub.jobs.model import Address, Cluster, Exit, Finding, Job, Reason
from sampan_hub.service.problems import make_problem
from sampan_hub.service.wire import (
    AddressView,
    ClusterView,
    ExitView,
    FindingView,
    ItemAnswer,
    JobView,
    Problem,
    ReasonView,
    SubmitAnswer,
)

_REFUSAL_STATUS = {"over-limit": 429, "strict": 429}


def cost_micros(job: Job, now: datetime) -> int | None:
    """What the job has cost so far, from its start to its end (or now); None without a price."""
    if job.price_micros_per_hour is None:
        return None
    if job.started_at is None:
        return 0
    used_s = max(0.0, ((job.ended_at or now) - job.started_at).total_seconds())
    return round(job.price_micros_per_hour * used_s / 3600)


def view_reason(reason: Reason | None) -> ReasonView | None:
    """The reason as it is told."""
    return None if reason is None else ReasonView(code=reason.code, text=reason.text)


def view_job(job: Job, now: datetime) -> JobView:
    """One job as its owner sees it. Secrets are not in it: they are not in the record."""
    return JobView(
        id=job.id,
        kind=job.kind,
        name=job.name,
        owner=job.owner,
        tenant=job.tenant,
        project=job.project,
        size=job.size,
        cores_milli=job.resources.cores_milli,
        memory_bytes=job.resources.memory_bytes,
        gpus=job.resources.gpus,
        environment=job.environment,
        backend=job.backend,
        batch=job.batch,
        index=job.index,
        parent=job.parent,
        cluster=job.cluster,
        wanted=job.wanted,
        state=job.state,
        state_since=job.state_since or job.created_at,
        reason=view_reason(job.reason),
        position=job.position,
        unknown_since=job.unknown_since,
        lost=job.lost,
        created_at=job.created_at,
        claimed_at=job.claimed_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        deadline=job.deadline,
        address=_view_address(job.address),
        exit=_view_exit(job.exit),
        price_micros_per_hour=job.price_micros_per_hour,
        cost_micros=cost_micros(job, now),
        busy=job.busy,
        busy_at=job.busy_at,
        revision=job.revision,
    )


def _view_address(address: Address | None) -> AddressView | None:
    return None if address is None else AddressView(scheme=address.scheme, host=address.host, port=address.port)


def _view_exit(end: Exit | None) -> ExitView | None:
    if end is None:
        return None
    return ExitView(code=end.code, signal=end.signal, peak_memory_bytes=end.peak_memory_bytes)


def view_cluster(cluster: Cluster) -> ClusterView:
    """One cluster as its owner sees it."""
    return ClusterView(
        id=cluster.id,
        name=cluster.name,
        owner=cluster.owner,
        project=cluster.project,
        parent=cluster.parent,
        state=cluster.state.value,
        reason=view_reason(cluster.reason),
        scheduler=cluster.scheduler,
        dashboard=cluster.dashboard,
        created_at=cluster.created_at,
        lease_until=cluster.lease_until,
        ended_at=cluster.ended_at,
        idle_timeout_s=cluster.idle_timeout_s,
        revision=cluster.revision,
    )


def view_refusal(refusal: Refusal) -> Problem:
    """Why one item was not accepted, as problem details."""
    return make_problem(
        _REFUSAL_STATUS.get(refusal.code, 409),
        refusal.code,
        refusal.text,
        limit=refusal.limit,
        used=refusal.used,
        asked=refusal.asked,
        maximum=refusal.maximum,
        raised_by=refusal.raised_by,
        existing=refusal.existing,
    )


def view_outcome(outcome: BatchOutcome, now: datetime) -> SubmitAnswer:
    """The answer to a submit: one item each, in request order."""
    return SubmitAnswer(
        batch=outcome.batch,
        items=[_view_item(item, now) for item in outcome.items],
        allowed_now=outcome.allowed_now,
        revision=outcome.revision,
    )


def view_finding(finding: Finding) -> FindingView:
    """One finding with its remedy."""
    return FindingView(
        code=finding.code,
        subject=finding.subject,
        text=finding.text,
        remedy=finding.remedy,
        backend=finding.backend,
    )


def _view_item(item: ItemOutcome, now: datetime) -> ItemAnswer:
    if item.job is not None:
        return ItemAnswer(index=item.index, status="accepted", job=view_job(item.job, now))
    problem = None if item.refusal is None else view_refusal(item.refusal)
    return ItemAnswer(index=item.index, status="refused", problem=problem)
