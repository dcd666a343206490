"""Jobs: submit, look, follow, stop, read the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sampan_hub.jobs.drafts import BatchConflict, Selection
from sampan_hub.jobs.model import Cluster, Job, Kind, State, Wanted
from sampan_hub.service.access import Asker, Ctx, visible_cluster, visible_job
from sampan_hub.service.answers import json_answer
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.feed import FeedQuery, follow, render_feed
from sampan_hub.service.intake import make_batch_draft
from sampan_hub.service.policy import stops_job
from sampan_hub.service.problems import bad_field, fail, not_found
from sampan_hub.service.sites import make_site
from sampan_hub.service.views import view_job, view_outcome
from sampan_hub.service.wire import (
    JobsAnswer,
    JobView,
    LogAnswer,
    StopAnswer,
    StopItem,
    StopRequest,
    SubmitAnswer,
    SubmitRequest,
)

router = APIRouter(prefix="/jobs", tags=["jobs"])

LONGEST_WAIT_S = 60
IDS_AT_ONCE = 500
Text = Annotated[str | None, Query(max_length=255)]


@router.post("", response_model=SubmitAnswer)
async def submit(body: SubmitRequest, caller: Asker, context: Ctx) -> Response:
    """Ask for jobs; one answer per item. The same batch key with the same content answers the same jobs again."""
    if caller.job is not None and caller.job.wanted is Wanted.STOP:
        raise fail(409, "stopping", "This notebook is being stopped and starts nothing new.")
    cluster = await _cluster_of(body, caller, context)
    return json_answer(await context.writing(_submit, context, body, caller, cluster))


@router.get("", response_model=JobsAnswer)
async def feed(
    request: Request,
    caller: Asker,
    context: Ctx,
    owner: Text = None,
    kind: Kind | None = None,
    cluster: Text = None,
    parent: Text = None,
    state: Annotated[list[State] | None, Query()] = None,
    revision: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    wait: Annotated[int, Query(ge=0, le=LONGEST_WAIT_S)] = 0,
) -> Response:
    """The full state of what is selected, as soon as it is newer than `revision`, or after `wait` seconds.

    Jobs and clusters that ended in the last hour are part of it; without `revision` a `cluster` is shown with all it
    ever had. A host that asks for its cluster renews its lease.
    """
    states = frozenset(state) if state else None
    selection = Selection(owner=owner, kind=kind, cluster=cluster, parent=parent)
    query = FeedQuery(selection, states, revision, wait)
    is_host = caller.kind == "scheduler" and cluster == caller.subject

    async def breathe() -> bool:
        if await request.is_disconnected():
            return False
        if is_host:
            await context.writing(context.store.renew_lease, caller.subject, utc_now())
        return True

    if is_host:
        await breathe()
    snapshot = await follow(context, query, caller, breathe)
    return json_answer(await context.reading(render_feed, snapshot, states, utc_now()))


@router.post("/stop", response_model=StopAnswer)
async def stop(body: StopRequest, caller: Asker, context: Ctx) -> Response:
    """Want these jobs stopped. Each is `stopping` until the backend confirms its end; unknown ids are refused."""
    return json_answer(await context.writing(_stop, context, body, caller))


@router.get("/{job_id}", response_model=JobView)
async def show(job_id: str, caller: Asker, context: Ctx) -> Response:
    """One job, also long after it ended."""
    job = await visible_job(context, caller, job_id)
    return json_answer(view_job(job, utc_now()).model_dump_json())


@router.get("/{job_id}/log", response_model=LogAnswer)
async def log(
    job_id: str, caller: Asker, context: Ctx, lines: Annotated[int, Query(ge=1, le=10_000)] = 200
) -> Response:
    """The end of the job's output, also after its end for as long as output is kept."""
    job = await visible_job(context, caller, job_id)
    backend = context.backends.get(job.backend)
    if backend is None:
        raise fail(
            404, "no-backend", f"The backend {job.backend!r} is no longer configured; its output is out of reach."
        )
    tail = await backend.read_log(job.id, lines)
    return json_answer(LogAnswer(lines=list(tail.lines), truncated=tail.truncated).model_dump_json())


async def _cluster_of(body: SubmitRequest, caller: Caller, context: Context) -> Cluster | None:
    """The cluster the jobs are for, seen by the caller and open; a host's is its own."""
    named = body.base.cluster
    if caller.cluster is not None:
        if named not in (None, caller.cluster.id):
            raise bad_field("base.cluster", "A host starts workers of its own cluster only.", [caller.cluster.id])
        return caller.cluster
    if named is None:
        return None
    if caller.kind == "hub":
        raise bad_field("base.cluster", "A notebook belongs to no cluster.")
    cluster = await visible_cluster(context, caller, named)
    if caller.owner != cluster.owner:
        raise not_found("cluster", named)
    if cluster.is_ended:
        raise fail(409, "cluster-ended", f"The cluster {cluster.name!r} has ended.")
    return cluster


def _submit(context: Context, body: SubmitRequest, caller: Caller, cluster: Cluster | None) -> str:
    now = utc_now()
    draft = make_batch_draft(body, caller, cluster, make_site(context, caller, cluster))
    try:
        outcome = context.store.submit(draft, context.settings.limits, now)
    except BatchConflict as error:
        raise fail(409, "conflict", f"{error}", field="batch") from error
    return view_outcome(outcome, now).model_dump_json()


def _stop(context: Context, body: StopRequest, caller: Caller) -> str:
    store = context.store
    stoppable = {job.id for job in _jobs(context, body.ids) if stops_job(caller, job)}
    wanted = [job_id for job_id in dict.fromkeys(body.ids) if job_id in stoppable]
    stopped = store.stop(wanted, by=caller.called, reason=body.reason, now=utc_now()) if wanted else {}
    items = [_stop_item(job_id, stopped.get(job_id)) for job_id in dict.fromkeys(body.ids)]
    return StopAnswer(items=items, revision=store.revision()).model_dump_json()


def _jobs(context: Context, ids: Sequence[str]) -> list[Job]:
    """The jobs of these ids that exist, asked in portions that every database takes."""
    portions = (tuple(ids[start : start + IDS_AT_ONCE]) for start in range(0, len(ids), IDS_AT_ONCE))
    return [job for portion in portions for job in context.store.jobs(Selection(ids=portion))[1]]


def _stop_item(job_id: str, job: Job | None) -> StopItem:
    if job is None:
        return StopItem(id=job_id, status="refused", problem=not_found("job", job_id).problem)
    return StopItem(id=job_id, status="ended" if job.is_ended else "stopping")
