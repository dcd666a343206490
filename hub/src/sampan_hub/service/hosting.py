"""Hosts of clusters that are jobs of their own: asked for with the cluster, and the first workers with them."""

from __future__ import annotations

from dataclasses import dataclass

from sampan_hub.jobs.drafts import BatchConflict, BatchDraft
from sampan_hub.jobs.model import Cluster
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.intake import make_batch_draft, make_first_workers, make_host_draft
from sampan_hub.service.problems import ApiProblem, fail
from sampan_hub.service.sites import make_site
from sampan_hub.service.views import view_job, view_outcome
from sampan_hub.service.wire import HostBase, ItemAnswer, JobView, SubmitAnswer


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the caller is told of the host and the first workers."""

    host: JobView | None = None
    workers: SubmitAnswer | None = None


async def host_as_job(context: Context, request: HostBase | None, caller: Caller, cluster: Cluster) -> Hosted:
    """Make the cluster's host and its first workers where hosts are jobs; nothing where they are not.

    A cluster for which that cannot be done is ended, and the problem raised. One that has its host already is left as
    it is: its caller joins it.
    """
    if request is None or context.settings.backends[cluster.backend].cluster_host != "job":
        return Hosted()
    return await context.writing(_host, context, request, caller, cluster)


def _host(context: Context, request: HostBase, caller: Caller, cluster: Cluster) -> Hosted:
    site = make_site(context, caller, cluster)
    try:
        host = _submit(context, make_host_draft(request, caller, cluster, site)).items[0]
        if host.problem is not None and host.problem.existing is not None:
            return Hosted(view_job(context.store.job(host.problem.existing), utc_now()))
        _check_accepted(host)
        first = make_first_workers(request, cluster)
        if first is None:
            return Hosted(host.job)
        workers = _submit(context, make_batch_draft(first, caller, cluster, site))
        if all(item.job is None for item in workers.items):
            _check_accepted(workers.items[0])
        return Hosted(host.job, workers)
    except ApiProblem as problem:
        context.store.end_cluster(cluster.id, by="service", code="refused", text=str(problem), now=utc_now())
        raise


def _submit(context: Context, draft: BatchDraft) -> SubmitAnswer:
    now = utc_now()
    try:
        return view_outcome(context.store.submit(draft, context.settings.limits, now), now)
    except BatchConflict as error:
        raise fail(409, "conflict", f"{error}", field="host.batch") from error


def _check_accepted(item: ItemAnswer) -> None:
    if item.problem is not None:
        raise ApiProblem(item.problem)
