"""Who must stop without being asked: children of what ended, what never gets ready, notebooks unused for too long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sampan_hub.jobs.model import Cluster, Job, Kind, Reason, State, Wanted
from sampan_hub.jobs.plan.evidence import NEVER_ARRIVED, end
from sampan_hub.jobs.plan.sight import Sight
from sampan_hub.jobs.plan.world import Recorded, Rules, World

PARENT_ENDED = Reason("parent-ended", "The notebook it belonged to has ended.")
CLUSTER_ENDED = Reason("cluster-ended", "The cluster it belonged to has ended.")


def want(job: Job, world: World, sights: Mapping[str, Sight], now: datetime, rules: Rules) -> Job:
    """The job with what must now be wanted of it, moved as far as that is certain without the backend."""
    if job.is_ended:
        return job
    if job.wanted is Wanted.RUN:
        why = _why_stop(job, world, sights, now, rules)
        if why is not None:
            kept = job.reason if job.state is State.RUNNING else None
            job = job.with_(wanted=Wanted.STOP, reason=kept or why)
    if job.wanted is Wanted.RUN:
        return job
    if job.state is State.ACCEPTED:
        return end(job, now, reason=NEVER_ARRIVED)
    if job.state in {State.QUEUED, State.STARTING, State.RUNNING}:
        return job.with_(state=State.STOPPING, position=None)
    return job


def _why_stop(job: Job, world: World, sights: Mapping[str, Sight], now: datetime, rules: Rules) -> Reason | None:
    recorded = world.recorded
    if job.parent is not None and is_gone(job.parent, recorded, sights, now, rules):
        return PARENT_ENDED
    if job.cluster is not None and job.cluster in recorded.gone_clusters:
        return CLUSTER_ENDED
    if _is_stuck(job, world.up_since, now, rules):
        minutes = int(rules.start_limit.total_seconds() // 60)
        text = f"Its process began and was not ready within {minutes} minutes; the end of its output may say why."
        return Reason("start-limit", text)
    if _is_idle(job, world, now, rules):
        minutes = int((rules.idle_notebook.total_seconds() if rules.idle_notebook else 0) // 60)
        return Reason("idle", f"Nothing was run for {minutes} minutes.")
    return None


def _is_stuck(job: Job, up_since: datetime, now: datetime, rules: Rules) -> bool:
    """Whether its process is seen and says nothing for too long; time without this service does not count."""
    if job.state is not State.STARTING or job.unknown_since is not None or _may_have_claimed(job, up_since):
        return False
    return now - max(job.state_since or job.created_at, up_since) > rules.start_limit


def _may_have_claimed(job: Job, up_since: datetime) -> bool:
    """Whether it began when nothing was recorded: adopted, or known from a restored database as not begun.

    It may have said long ago that it is ready, and work ever since.
    """
    is_older = job.started_at is not None and job.started_at < up_since
    return job.claimed_at is None and (job.run is not None or is_older)


def is_gone(parent: str, recorded: Recorded, sights: Mapping[str, Sight], now: datetime, rules: Rules) -> bool:
    """Whether a parent has ended. One without a row counts as ended when no backend shows it alive any more."""
    if parent in recorded.gone_parents:
        return True
    if parent in recorded.known_parents:
        return False
    return bool(sights) and all(
        not sight.is_failing(now, rules)
        and len(sight.looks) == 2
        and not sight.all_vanished
        and not any(_shows_alive(sight, parent))
        for sight in sights.values()
    )


def _shows_alive(sight: Sight, job_id: str) -> list[bool]:
    return [True for look in sight.looks for seen in look.shown.get(job_id, ()) if seen.phase != "ended"]


def _is_idle(job: Job, world: World, now: datetime, rules: Rules) -> bool:
    end_at = idle_end_at(job, world.recorded.clusters, world.up_since, rules.idle_notebook)
    return end_at is not None and now >= end_at


def idle_end_at(
    job: Job, clusters: Iterable[Cluster], up_since: datetime, idle_notebook: timedelta | None
) -> datetime | None:
    """When this notebook is stopped if nothing is run in it until then; None while it works, or where none is."""
    if idle_notebook is None or job.kind is not Kind.NOTEBOOK or job.state is not State.RUNNING or job.busy:
        return None
    of_clusters = [cluster.busy_at for cluster in clusters if cluster.parent == job.id]
    signs = [job.busy_at, job.started_at, job.claimed_at, *of_clusters, up_since]
    return max(sign for sign in signs if sign is not None) + idle_notebook
