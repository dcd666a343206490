"""My work: a person's servers and clusters, live; what ended; one job with its log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sampan_hub.jobs.drafts import Selection
from sampan_hub.jobs.model import Job, State
from sampan_hub.service.access import Ctx, visible_job
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.feed import FeedQuery, follow
from sampan_hub.service.pages.access import PART, Form, PageRoute, Visitor, Who
from sampan_hub.service.pages.listing import Work, arrange, make_row
from sampan_hub.service.pages.site import HEADERS, pages_of
from sampan_hub.service.pages.stopping import chosen, stop

router = APIRouter(include_in_schema=False, route_class=PageRoute)

LOG_LINES = 200
MOST_ENDED = 200
LONGEST_WAIT_S = 20
"""Also how old costs and times on an open page get."""
REVISION = "X-Sampan-Revision"

Revision = Annotated[int | None, Query(ge=0, lt=2**63)]


@router.get("")
@router.get("/")
async def root(request: Request, _who: Who) -> Response:
    """The first page."""
    return RedirectResponse(f"{pages_of(request).base}/work", 302, HEADERS)


@router.get("/work")
async def show(request: Request, who: Who, context: Ctx) -> Response:
    """My work."""
    values = await work_values(request, context, who, Selection(owner=who.name), None)
    return await pages_of(request).page("work.html", who.name, is_admin=who.caller.admin, sampan_here="work", **values)


@router.get("/work/part")
async def part(request: Request, who: Who, context: Ctx, revision: Revision = None) -> Response:
    """The part of it that changes, as soon as it has."""
    values = await work_values(request, context, who, Selection(owner=who.name), revision)
    return part_answer(await pages_of(request).part("work_part.html", values), values["revision"])


@router.post("/stop")
async def stop_some(request: Request, who: Who, context: Ctx, fields: Form) -> Response:
    """Stop what was chosen; back to the page it was chosen on."""
    jobs, clusters = chosen(fields)
    await context.writing(stop, context, who.caller, jobs, clusters)
    if PART in request.headers:
        return Response(status_code=204, headers=HEADERS)
    back = "everything" if fields.get("from") == ["everything"] else "work"
    return RedirectResponse(f"{pages_of(request).base}/{back}", 303, HEADERS)


@router.get("/ended")
async def show_ended(request: Request, who: Who, context: Ctx) -> Response:
    """What ended while its output is still kept."""
    selection = Selection(owner=who.name, states=frozenset({State.ENDED}), limit=MOST_ENDED)
    _, jobs = await context.reading(context.store.jobs, selection)
    now, pages = utc_now(), pages_of(request)
    kept = [job for job in reversed(jobs) if _output_left_s(context, job) is not None]
    return await pages.page(
        "ended.html",
        who.name,
        is_admin=who.caller.admin,
        sampan_here="work",
        viewer=who.name,
        rows=[make_row(job, pages.prefix, now) for job in kept],
        most=MOST_ENDED,
        keep_days=context.settings.keep_logs // 86400,
    )


@router.get("/jobs/{job_id}")
async def show_job(job_id: str, request: Request, who: Who, context: Ctx) -> Response:
    """One job and the end of its output."""
    values = await _job_values(request, context, who, job_id)
    return await pages_of(request).page("job.html", who.name, is_admin=who.caller.admin, sampan_here="work", **values)


@router.get("/jobs/{job_id}/part")
async def job_part(job_id: str, request: Request, who: Who, context: Ctx) -> Response:
    """The part of it that changes."""
    values = await _job_values(request, context, who, job_id)
    return part_answer(await pages_of(request).part("job_part.html", values), 0)


def part_answer(text: str, revision: int) -> Response:
    """A part of a page, and what it is the state of."""
    return HTMLResponse(text, headers={**HEADERS, REVISION: str(revision)})


async def work_values(
    request: Request, context: Context, who: Visitor, selection: Selection, revision: int | None
) -> dict[str, Any]:
    """What a page of work shows: at once, or (`revision`) as soon as anything in it is newer."""

    async def breathe() -> bool:
        return not await request.is_disconnected()

    query = FeedQuery(selection, None, revision, LONGEST_WAIT_S)
    snapshot = await follow(context, query, who.caller, breathe)
    now = utc_now()
    work: Work = await context.reading(arrange, snapshot.jobs, snapshot.clusters, pages_of(request).prefix, now)
    return {
        "work": work,
        "revision": snapshot.revision,
        "paused": snapshot.paused,
        "form_token": who.form_token,
        "viewer": who.name,
    }


async def _job_values(request: Request, context: Context, who: Visitor, job_id: str) -> dict[str, Any]:
    job = await visible_job(context, who.caller, job_id)
    backend = context.backends.get(job.backend)
    tail = None if backend is None else await backend.read_log(job.id, LOG_LINES)
    return {
        "row": make_row(job, pages_of(request).prefix, utc_now()),
        "job": job,
        "lines": [] if tail is None else list(tail.lines),
        "truncated": tail is not None and tail.truncated,
        "most_lines": LOG_LINES,
        "form_token": who.form_token,
        "viewer": who.name,
    }


def _output_left_s(context: Context, job: Job) -> float | None:
    """For how long its output is still kept; None once it is not."""
    if job.ended_at is None:
        return None
    left_s = context.settings.keep_logs - (utc_now() - job.ended_at).total_seconds()
    return left_s if left_s > 0 else None
