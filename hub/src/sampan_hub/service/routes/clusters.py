"""Clusters: a name, a lease, the host that feeds it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from sampan_hub.jobs.drafts import StoreError
from sampan_hub.jobs.keys import make_credential
from sampan_hub.jobs.model import Cluster, ClusterState, Wanted
from sampan_hub.service.access import Asker, Ctx, allow, visible_cluster
from sampan_hub.service.answers import json_answer
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import utc_now
from sampan_hub.service.feed import RECENT
from sampan_hub.service.hosting import host_as_job
from sampan_hub.service.intake import make_cluster_draft
from sampan_hub.service.policy import sees_cluster
from sampan_hub.service.problems import fail, not_found
from sampan_hub.service.views import view_cluster
from sampan_hub.service.wire import ClusterAnswer, ClusterReport, ClusterRequest, ClustersAnswer, ClusterView

router = APIRouter(prefix="/clusters", tags=["clusters"])


@router.post("", response_model=ClusterAnswer)
async def make(
    body: ClusterRequest, caller: Annotated[Caller, Depends(allow("notebook", "user"))], context: Ctx
) -> Response:
    """The open cluster of this name, made if there is none, and its host's credential."""
    if caller.job is not None and caller.job.wanted is Wanted.STOP:
        raise fail(409, "stopping", "This notebook is being stopped and starts nothing new.")
    draft = make_cluster_draft(body, caller, context.settings)
    try:
        cluster = await context.writing(context.store.ensure_cluster, draft, utc_now())
    except StoreError as error:
        is_paused = await context.reading(context.store.paused) is not None
        raise fail(409, "paused" if is_paused else "parent-ended", str(error)) from error
    place = context.places.get(cluster.backend)
    hosted = await host_as_job(context, body.host, caller, cluster)
    answer = ClusterAnswer(
        cluster=view_cluster(cluster),
        credential=make_credential(context.keys.service, cluster.id, "scheduler"),
        network=place.network if place else None,
        ports=place.ports if place else None,
        notice=place.notice if place else None,
        host=hosted.host,
        workers=hosted.workers,
    )
    return json_answer(answer.model_dump_json())


@router.get("", response_model=ClustersAnswer)
async def show_all(caller: Asker, context: Ctx, owner: Annotated[str | None, Query(max_length=255)] = None) -> Response:
    """The clusters the caller may see: open, or ended in the last hour; oldest first."""
    scope = owner if caller.sees_all else caller.owner
    clusters = await context.reading(context.store.clusters, owner=scope, ended_after=utc_now() - RECENT)
    seen = [cluster for cluster in clusters if sees_cluster(caller, cluster) and owner in (None, cluster.owner)]
    return json_answer(ClustersAnswer(clusters=[view_cluster(cluster) for cluster in seen]).model_dump_json())


@router.get("/{cluster_id}", response_model=ClusterView)
async def show(cluster_id: str, caller: Asker, context: Ctx) -> Response:
    """One cluster."""
    return _answer(await visible_cluster(context, caller, cluster_id))


@router.put("/{cluster_id}", response_model=ClusterView)
async def report(
    cluster_id: str, body: ClusterReport, caller: Annotated[Caller, Depends(allow("scheduler"))], context: Ctx
) -> Response:
    """What the host says of its cluster; renews the lease."""
    if caller.subject != cluster_id:
        raise not_found("cluster", cluster_id)
    cluster = await context.writing(
        context.store.update_cluster,
        cluster_id,
        utc_now(),
        state=None if body.state is None else ClusterState(body.state),
        scheduler=body.scheduler,
        dashboard=body.dashboard,
        busy=body.busy,
    )
    if body.look:
        context.reconciler.look(cluster.backend)
    return _answer(cluster)


@router.delete("/{cluster_id}", response_model=ClusterView)
async def end(cluster_id: str, caller: Asker, context: Ctx) -> Response:
    """End the cluster; the service stops its workers. Idempotent."""
    await visible_cluster(context, caller, cluster_id)
    cluster = await context.writing(
        context.store.end_cluster,
        cluster_id,
        by=caller.called,
        code="closed",
        text="Closed." if caller.kind == "scheduler" else f"Closed by {caller.called}.",
        now=utc_now(),
    )
    return _answer(cluster)


def _answer(cluster: Cluster) -> Response:
    return json_answer(view_cluster(cluster).model_dump_json())
