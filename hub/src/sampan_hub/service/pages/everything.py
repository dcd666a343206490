"""Everything, for administrators: all work, what needs a look, and the pause."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from sampan_hub.jobs.drafts import Selection
from sampan_hub.service.access import Ctx
from sampan_hub.service.context import Context
from sampan_hub.service.pages.access import AdminWho, Form, PageRoute, Visitor
from sampan_hub.service.pages.listing import Row, Work, matches
from sampan_hub.service.pages.site import HEADERS, pages_of
from sampan_hub.service.pages.work import Revision, part_answer, work_values
from sampan_hub.service.problems import fail

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MOST_ROWS = 500
LONGEST_SENTENCE = 500

Filter = Annotated[str, Query(max_length=200)]


@router.get("/everything")
async def show(request: Request, who: AdminWho, context: Ctx, q: Filter = "") -> Response:
    """Everybody's work."""
    values = await _values(request, context, who, q, None)
    return await pages_of(request).page("everything.html", who.name, is_admin=True, sampan_here="everything", **values)


@router.get("/everything/part")
async def part(request: Request, who: AdminWho, context: Ctx, q: Filter = "", revision: Revision = None) -> Response:
    """The part of it that changes, as soon as it has."""
    values = await _values(request, context, who, q, revision)
    return part_answer(await pages_of(request).part("everything_part.html", values), values["revision"])


@router.post("/pause")
async def pause(request: Request, _who: AdminWho, context: Ctx, fields: Form) -> Response:
    """Refuse new work with a sentence, or (without one) take it again."""
    sentence = fields.get("sentence", [""])[0].strip()
    if len(sentence) > LONGEST_SENTENCE:
        raise fail(400, "invalid", f"A sentence may have {LONGEST_SENTENCE} characters.")
    await context.writing(context.store.pause, sentence or None)
    return RedirectResponse(f"{pages_of(request).base}/everything", 303, HEADERS)


async def _values(request: Request, context: Context, who: Visitor, text: str, revision: int | None) -> dict[str, Any]:
    values = await work_values(request, context, who, Selection(), revision)
    rows = all_rows(values["work"])
    found = [row for row in rows if matches(row, text)]
    return {
        **values,
        "rows": found[:MOST_ROWS],
        "left_out": max(0, len(found) - MOST_ROWS),
        "in_all": len(rows),
        "q": text,
        "findings": await context.reading(context.store.findings),
    }


def all_rows(work: Work) -> list[Row]:
    """Every job that has not ended, workers with the name of their cluster."""
    workers = [
        replace(row, name=f"{row.name} of {cluster.name}") for cluster in work.clusters for row in cluster.workers
    ]
    return [*work.servers, *workers, *work.others]
