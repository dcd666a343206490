"""The feed: the full state of a selection as soon as it is newer than what the caller knows."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sampan_hub.jobs.admission import allowed_now
from sampan_hub.jobs.drafts import Selection
from sampan_hub.jobs.model import Cluster, Job, Kind, Resources, State
from sampan_hub.service.auth import Caller
from sampan_hub.service.choices import default_size, project_names, resources_of, tenant_of
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.policy import sees_cluster
from sampan_hub.service.views import view_cluster, view_job
from sampan_hub.service.wire import JobsAnswer
from sampan_hub.settings.model import Settings

RECENT = timedelta(hours=1)
"""Jobs and clusters that ended so long ago are not in the feed any more; ask for them by id, or for their cluster."""
THE_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
BREATH_S = 15.0
"""A waiting request looks this often whether its caller is still there, and renews the lease if it is a host."""


@dataclass(frozen=True, slots=True)
class Payer:
    """For whom and what `allowed_now` is counted."""

    owner: str
    project: str
    tenant: str
    resources: Resources


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """What was asked. `revision` None: answer at once."""

    selection: Selection
    states: frozenset[State] | None
    revision: int | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent look: everything is at least as new as `revision`."""

    revision: int
    jobs: list[Job]
    clusters: list[Cluster]
    allowed_now: int | None
    paused: str | None

    def is_news(self, known_revision: int, first: Snapshot) -> bool:
        """Whether it says anything that a caller at `known_revision`, waiting since `first`, does not know."""
        if self.revision < known_revision:
            return True  # an older database was restored: what the caller knows is of another history
        records: list[Job | Cluster] = [*self.jobs, *self.clusters]
        return any(record.revision > known_revision for record in records) or (
            (self.allowed_now, self.paused) != (first.allowed_now, first.paused)
        )


def restrict(selection: Selection, caller: Caller) -> Selection | None:
    """The part of the selection that this caller may see; None when that is nothing."""
    if caller.sees_all:
        return selection
    match caller.kind:
        case "user":
            own = replace(selection, owner=caller.owner)
            return own if selection.owner in (None, caller.owner) else None
        case "notebook":
            own = replace(selection, parent=caller.subject)
            return own if selection.parent in (None, caller.subject) else None
        case "scheduler":
            own = replace(selection, cluster=caller.subject)
            return own if selection.cluster in (None, caller.subject) else None
        case _:
            return None


def payer_of(caller: Caller, settings: Settings) -> Payer | None:
    """Whose limits bound this caller's next job of the default size; None for the hub and the command line."""
    if caller.owner is None:
        return None
    if caller.cluster is not None:
        project, size = caller.cluster.project, caller.cluster.size
    elif caller.job is not None:
        project, size = caller.job.project, ""
    else:
        names = project_names(settings, caller.owner)
        project, size = (names[0], "") if names else ("", "")
    record = caller.cluster or caller.job
    name = size if size in settings.sizes else default_size(settings, project, record.backend if record else None)
    if name is None:
        return None
    return Payer(caller.owner, project, tenant_of(settings, project, caller.owner), resources_of(settings.sizes[name]))


def take_snapshot(context: Context, query: FeedQuery, caller: Caller, now: datetime) -> Snapshot:
    """Reads the store (call it in a worker thread). Clusters are read after jobs: never older than the revision."""
    asked, store, settings = query.selection, context.store, context.settings
    selection = restrict(asked, caller)
    is_history = asked.cluster is not None and query.revision is None  # what the whole cluster cost, not the last hour
    since = THE_BEGINNING if is_history else now - RECENT
    revision, jobs, clusters = store.revision(), list[Job](), list[Cluster]()
    if selection is not None:
        revision, jobs = store.jobs(replace(selection, ended_after=since))
        clusters = [] if asked.kind is Kind.NOTEBOOK else store.clusters(owner=selection.owner, ended_after=since)
    payer = payer_of(caller, settings)
    allowed = None
    if payer is not None:
        usage = store.usage(payer.owner, payer.project, payer.tenant)
        allowed = allowed_now(usage, settings.limits, payer.owner, payer.project, payer.resources)
    return Snapshot(
        revision,
        jobs,
        [cluster for cluster in clusters if sees_cluster(caller, cluster) and _is_asked(cluster, selection)],
        allowed,
        store.paused(),
    )


async def follow(
    context: Context, query: FeedQuery, caller: Caller, breathe: Callable[[], Awaitable[bool]]
) -> Snapshot:
    """The first snapshot with news, or the last one before the wait is over.

    `breathe` is called every `BREATH_S`; once it answers False nobody listens any more.
    """
    deadline_s = time.monotonic() + query.wait_s
    first = latest = await context.reading(take_snapshot, context, query, caller, utc_now())
    while query.revision is not None and not latest.is_news(query.revision, first):
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or context.revisions.released or not await breathe():
            return latest
        newest = await context.revisions.wait_change(latest.revision, min(left_s, BREATH_S))
        if newest != latest.revision:
            latest = await context.reading(take_snapshot, context, query, caller, utc_now())
    return latest


def render_feed(snapshot: Snapshot, states: frozenset[State] | None, now: datetime) -> str:
    """The answer as JSON (thousands of jobs take a while: call it in a worker thread)."""
    return JobsAnswer(
        revision=snapshot.revision,
        jobs=[view_job(job, now) for job in snapshot.jobs if states is None or job.state in states],
        clusters=[view_cluster(cluster) for cluster in snapshot.clusters],
        allowed_now=snapshot.allowed_now,
        paused=snapshot.paused,
    ).model_dump_json()


def _is_asked(cluster: Cluster, selection: Selection | None) -> bool:
    """Whether a selection of jobs reaches this cluster."""
    if selection is None:
        return False
    return selection.cluster in (None, cluster.id) and selection.parent in (None, cluster.parent)
