"""The plan: every decision, in one order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from sampan_hub.jobs.model import Job, Kind, Reason, State, Wanted
from sampan_hub.jobs.plan import strays
from sampan_hub.jobs.plan.actions import Action, Cancel, EndCluster, Record, Submit
from sampan_hub.jobs.plan.dispatch import dispatch
from sampan_hub.jobs.plan.evidence import see
from sampan_hub.jobs.plan.sight import Sight, make_sight
from sampan_hub.jobs.plan.wants import is_gone, want
from sampan_hub.jobs.plan.world import CancelSent, Rules, World

CANCEL_AGAIN_AT_MOST = timedelta(seconds=30)


def plan(world: World, now: datetime, rules: Rules) -> Sequence[Action]:
    """What to record and what to ask of the backends now. Applied and planned again it comes to rest.

    A job gets at most one Record. Calls follow only from what is recorded already, so a crash between the two
    loses nothing: the next plan asks again.
    """
    recorded = world.recorded
    sights = {name: make_sight(view, recorded.jobs, rules) for name, view in world.backends.items()}
    after = {
        job.id: want(see(job, sights.get(job.backend), now, world.up_since, rules), world, sights, now, rules)
        for job in recorded.jobs
    }
    actions: list[Action] = [Record(job, after[job.id]) for job in recorded.jobs if after[job.id] != job]
    changed = {action.before.id for action in actions if isinstance(action, Record)}
    actions += _end_clusters(world, sights, now, rules)
    for name, sight in sights.items():
        here = [after[job.id] for job in recorded.jobs if job.backend == name and not after[job.id].is_ended]
        actions += _without(dispatch(sight, here, now, rules), changed)
        actions += strays.adopt(sight, recorded, rules)
        steady = [job for job in here if job.id not in changed]
        actions += _cancels(sight, steady, strays.undead(sight, recorded, rules), now)
        actions += strays.forget(sight, recorded, now, rules)
        actions += strays.report(sight, recorded, now, rules)
    return actions


def _without(actions: Iterable[Record | Submit], changed: set[str]) -> Iterator[Record | Submit]:
    """What concerns jobs that have another record in this plan waits for the next."""
    for action in actions:
        if isinstance(action, Submit):
            left = tuple(job for job in action.jobs if job.id not in changed)
            if left:
                yield Submit(action.backend, left)
        elif action.before.id not in changed:
            yield action


def _cancels(sight: Sight, steady: Sequence[Job], undead: Sequence[str], now: datetime) -> Iterator[Cancel]:
    """A stop is repeated, ever more slowly, until a listing confirms it."""
    asked = [job.id for job in steady if job.wanted is Wanted.STOP and job.state in {State.STOPPING, State.SUBMITTING}]
    due = tuple(job_id for job_id in [*asked, *undead] if _is_due(sight.view.cancels.get(job_id), now))
    if due:
        yield Cancel(sight.view.name, due)


def _is_due(sent: CancelSent | None, now: datetime) -> bool:
    return sent is None or now - sent.at >= min(CANCEL_AGAIN_AT_MOST, timedelta(seconds=2 ** min(sent.count - 1, 10)))


def _end_clusters(world: World, sights: Mapping[str, Sight], now: datetime, rules: Rules) -> Iterator[EndCluster]:
    waits_for_host = {job.cluster for job in world.recorded.jobs if _is_host_to_come(job)}
    for cluster in world.recorded.clusters:
        reason = None
        lease_until = cluster.lease_until or cluster.created_at
        if cluster.parent is not None and is_gone(cluster.parent, world.recorded, sights, now, rules):
            reason = Reason("parent-ended", "The notebook it belonged to has ended.")
        elif cluster.id not in waits_for_host and now - max(lease_until, world.up_since) >= rules.lease_lost_after:
            reason = Reason("host-lost", "Its host has not been heard of for too long; its workers are stopped.")
        if reason is not None:
            yield EndCluster(cluster.id, cluster.revision, cluster.lease_until, reason)


def _is_host_to_come(job: Job) -> bool:
    """Whether this is a cluster's host that has not begun: while it waits in a queue nobody can renew the lease."""
    return job.kind is Kind.SCHEDULER and job.run is None and not job.lost
