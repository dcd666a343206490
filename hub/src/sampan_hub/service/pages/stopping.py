"""What the stop buttons do: the one beside a job, and the one for all that are picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sampan_hub.jobs.drafts import NoSuchCluster, Selection
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.policy import sees_cluster, stops_job
from sampan_hub.service.problems import not_found

PORTION = 500


def chosen(fields: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Job ids and cluster ids of a form: of the one button (`only`), else of everything picked (`pick`)."""
    values = fields.get("only") or fields.get("pick", ())
    named = [value.partition(":") for value in dict.fromkeys(values)]
    return (
        [name for kind, _, name in named if kind == "job"],
        [name for kind, _, name in named if kind == "cluster"],
    )


def stop(context: Context, caller: Caller, jobs: Sequence[str], clusters: Sequence[str]) -> None:
    """Want these stopped (call it in a worker thread); 404 for one that the caller may not stop, before any is."""
    stoppable: list[str] = []
    for start in range(0, len(jobs), PORTION):
        _, found = context.store.jobs(Selection(ids=tuple(jobs[start : start + PORTION])))
        stoppable += [job.id for job in found if stops_job(caller, job)]
    allowed = frozenset(stoppable)
    for job_id in jobs:
        if job_id not in allowed:
            raise not_found("job", job_id)
    for cluster_id in clusters:
        _check_cluster(context, caller, cluster_id)
    if stoppable:
        context.store.stop(stoppable, by=caller.called, reason="asked", now=utc_now())
    for cluster_id in clusters:
        text = f"Closed by {caller.called}."
        context.store.end_cluster(cluster_id, by=caller.called, code="closed", text=text, now=utc_now())


def _check_cluster(context: Context, caller: Caller, cluster_id: str) -> None:
    try:
        cluster = context.store.cluster(cluster_id)
    except NoSuchCluster as error:
        raise not_found("cluster", cluster_id) from error
    if not sees_cluster(caller, cluster):
        raise not_found("cluster", cluster_id)
