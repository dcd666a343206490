"""What jobs themselves say: the claim and the reports."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from sampan_hub.backends.base import Backend
from sampan_hub.jobs.drafts import ClaimRefused, Report
from sampan_hub.jobs.model import Address, Job, Kind, Reason, Wanted
from sampan_hub.service.access import Ctx, allow
from sampan_hub.service.answers import json_answer
from sampan_hub.service.auth import Caller
from sampan_hub.service.claimants import Claimant, claimant
from sampan_hub.service.claims import certificate_names, listens_there, make_claim_answer
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.problems import ApiProblem, bad_field, fail, not_found
from sampan_hub.service.views import view_job
from sampan_hub.service.wire import AddressReport, ClaimAnswer, ClaimRequest, JobView, ReportRequest

router = APIRouter(prefix="/jobs", tags=["jobs"])

SCHEDULER_WAIT_S = 25.0
"""A worker's claim waits so long for its cluster's scheduler, then is told to ask again."""


@router.post("/{job_id}/claim", response_model=ClaimAnswer)
async def claim(job_id: str, body: ClaimRequest, who: Annotated[Claimant, Depends(claimant)], context: Ctx) -> Response:
    """A run's first words. The first one gets the job; any other is told to exit (409, code `exit`)."""
    job = who.job
    if who.run not in (None, body.run):
        raise bad_field("run", "A pod's run is the uid that its token names.")
    names = certificate_names(context, job, body)
    try:
        claimed = await context.writing(context.store.claim, job_id, body.run, utc_now())
    except ClaimRefused as error:
        raise _exit(f"{error}") from error
    scheduler = await _wait_for_scheduler(context, claimed.job) if job.kind is Kind.WORKER else None
    return json_answer(make_claim_answer(context, claimed, names, scheduler, utc_now()).model_dump_json())


@router.post("/{job_id}/report", response_model=JobView)
async def report(
    job_id: str, body: ReportRequest, caller: Annotated[Caller, Depends(allow("notebook", "worker"))], context: Ctx
) -> Response:
    """What a job says of itself: where it listens, whether it works, why it is about to end."""
    if caller.job is None or caller.subject != job_id:
        raise not_found("job", job_id)
    address = None if body.address is None else await _proven_address(context, caller.job, body.address)
    failure = None if body.failure is None else Reason(body.failure.code, body.failure.text)
    said = Report(address=address, busy=body.busy, failure=failure)
    job = await context.writing(context.store.report, job_id, said, utc_now())
    return json_answer(view_job(job, utc_now()).model_dump_json())


def _exit(detail: str) -> ApiProblem:
    return fail(409, "exit", f"{detail} End at once and touch nothing.")


async def _wait_for_scheduler(context: Context, job: Job) -> str:
    """The address of the worker's scheduler as soon as its host said it."""
    deadline_s = time.monotonic() + SCHEDULER_WAIT_S
    while True:
        revision = context.revisions.newest
        cluster = await context.find_cluster(job.cluster or "")
        if cluster is None or cluster.is_ended:
            raise _exit(f"{job.id}: the cluster has ended.")
        if cluster.scheduler is not None:
            return cluster.scheduler
        latest = await context.find_job(job.id)
        if latest is None or latest.is_ended or latest.wanted is Wanted.STOP:
            raise _exit(f"{job.id}: the job is no longer wanted.")
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or context.revisions.released:
            detail = f"The scheduler of the cluster {cluster.name!r} is not there yet: ask again."
            raise fail(503, "scheduler-starting", detail, retry_after_s=1)
        await context.revisions.wait_change(revision, left_s)


async def _proven_address(context: Context, job: Job, said: AddressReport) -> Address:
    """The address, if the backend shows that this very job listens there; otherwise nothing changes."""
    if job.kind is not Kind.NOTEBOOK:
        raise bad_field("address", "Only a notebook reports an address.")
    backend, place = context.backends.get(job.backend), context.places.get(job.backend)
    crosses = place is not None and place.crosses_hosts
    if crosses and said.scheme != "https":
        raise bad_field("address.scheme", "A notebook on another machine is reached over TLS or not at all.", ["https"])
    is_elsewhere = not listens_there(place, said.host) if place and crosses else said.port in context.own_ports
    if backend is None or is_elsewhere or not await _is_listener(backend, job, said):
        detail = f"{said.host}:{said.port} is not a listener of the job {job.id}: report the one that the job opened."
        raise fail(422, "not-your-listener", detail, field="address")
    return Address(said.host, said.port, said.scheme)


async def _is_listener(backend: Backend, job: Job, said: AddressReport) -> bool:
    try:
        return await backend.owns_listener(job.id, said.host, said.port)
    except OSError as error:
        detail = f"{said.host}:{said.port} does not answer the service ({error}): report it again."
        raise fail(503, "listener-silent", detail, retry_after_s=1) from error
