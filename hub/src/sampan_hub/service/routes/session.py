"""What the person at a notebook should always see: what everything takes and costs, what ends soon, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from sampan_hub.jobs.drafts import Selection
from sampan_hub.jobs.model import Job, Wanted
from sampan_hub.jobs.plan.wants import idle_end_at
from sampan_hub.service.access import Ctx, allow
from sampan_hub.service.answers import json_answer
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.feed import RECENT
from sampan_hub.service.problems import fail
from sampan_hub.service.wire import FailureView, SessionAnswer
from sampan_hub.settings.model import BackendSettings
from sampan_hub.settings.slurm import WALLTIME_NOTICE_S, SlurmBackend

router = APIRouter(tags=["site"])

MOST_FAILURES = 20
GIVEN_UP = "It could not be seen for too long and was given up."
NOT_SAID = "It ended by itself; its output may say why."


@router.get("/session", response_model=SessionAnswer)
async def show(caller: Annotated[Caller, Depends(allow("notebook"))], context: Ctx) -> Response:
    """What this notebook shows at all times: cheap enough to be asked every few seconds."""
    if caller.job is None:
        raise fail(404, "not-found", "This notebook has no record.")
    return json_answer(await context.reading(_read_session, context, caller.job))


def _read_session(context: Context, notebook: Job) -> str:
    store, now = context.store, utc_now()
    _, jobs = store.jobs(Selection(owner=notebook.owner, ended_after=now - RECENT))
    clusters = store.clusters(owner=notebook.owner, ended_after=now - RECENT)
    idle_s = context.settings.idle.notebook
    idle = timedelta(seconds=idle_s) if idle_s else None
    return make_session(
        notebook,
        jobs,
        {cluster.id: cluster.name for cluster in clusters},
        idle_end_at=idle_end_at(notebook, clusters, context.reconciler.up_since, idle),
        walltime_notice_s=_walltime_notice_s(context.settings.backends.get(notebook.backend)),
        currency=context.settings.currency,
        paused=store.paused(),
    ).model_dump_json()


def make_session(
    notebook: Job,
    jobs: Sequence[Job],
    cluster_names: Mapping[str, str],
    *,
    idle_end_at: datetime | None,
    walltime_notice_s: int,
    currency: str | None,
    paused: str | None,
) -> SessionAnswer:
    """The sums over everything its owner runs, and the failures of this notebook's own jobs. Pure."""
    held = [job for job in jobs if job.holds_limits]
    prices = [job.price_micros_per_hour for job in held if job.started_at is not None]
    known = [price for price in prices if price is not None]
    failed = [job for job in jobs if job.parent == notebook.id and has_failed(job)]
    failed.sort(key=_failed_at, reverse=True)
    return SessionAnswer(
        jobs=len(held),
        cores_milli=sum(job.resources.cores_milli for job in held),
        memory_bytes=sum(job.resources.memory_bytes for job in held),
        gpus=sum(job.resources.gpus for job in held),
        price_micros_per_hour=sum(known) if known else None,
        currency=currency,
        idle_end_at=idle_end_at,
        deadline=notebook.deadline,
        walltime_notice_s=walltime_notice_s,
        paused=paused,
        failures=[_view_failure(job, cluster_names) for job in failed[:MOST_FAILURES]],
    )


def _walltime_notice_s(backend: BackendSettings | None) -> int:
    return backend.walltime_notice if isinstance(backend, SlurmBackend) else WALLTIME_NOTICE_S


def has_failed(job: Job) -> bool:
    """Whether it is over and nobody asked for that: not a stop, not an end in order."""
    if job.wanted is Wanted.STOP:
        return False
    return job.lost or (job.is_ended and (job.exit is None or job.exit.code != 0))


def _failed_at(job: Job) -> datetime:
    return job.ended_at or job.state_since or job.created_at


def _view_failure(job: Job, cluster_names: Mapping[str, str]) -> FailureView:
    reason = job.reason.text if job.reason is not None else NOT_SAID
    return FailureView(
        id=job.id,
        kind=job.kind,
        name=job.name,
        cluster=cluster_names.get(job.cluster) if job.cluster else None,
        text=GIVEN_UP if job.lost else reason,
        at=_failed_at(job),
    )
