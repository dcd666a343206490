"""Whether the service lives, whether it works, and its figures."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from sampan_hub.jobs.drafts import Selection, StoreError
from sampan_hub.service.access import Ctx, allow
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.metrics import CONTENT_TYPE
from sampan_hub.service.problems import answer_problem, make_problem

router = APIRouter(tags=["health"])

STALE_S = 60.0
"""A backend without a good listing for so long makes the service not ready."""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(context: Ctx) -> Response:
    """The store answers and every backend was listed lately; otherwise 503 with what is wrong."""
    wrong = [*await _store_troubles(context), *_backend_troubles(context.reconciler.last_good_listing_at, utc_now())]
    if wrong:
        return answer_problem(make_problem(503, "not-ready", " ".join(wrong)), {"Retry-After": "2"})
    body: dict[str, Any] = {"status": "ready", "backends": sorted(context.backends)}
    return JSONResponse(body)


@router.get("/metrics")
async def metrics(_caller: Annotated[Caller, Depends(allow("admin", "hub"))], context: Ctx) -> Response:
    """Figures for Prometheus; it sends an administrator's token."""
    _, jobs = await context.reading(context.store.jobs, Selection())
    now = utc_now()
    ages_s = {
        name: (now - at).total_seconds()
        for name, at in context.reconciler.last_good_listing_at.items()
        if at is not None
    }
    counts = Counter((job.kind.value, job.state.value) for job in jobs)
    text = context.metrics.render(counts, ages_s, context.revisions.waiting)
    return Response(text, media_type=CONTENT_TYPE)


async def _store_troubles(context: Context) -> list[str]:
    try:
        await context.reading(context.store.check)
    except (StoreError, SQLAlchemyError) as error:
        return [f"The database does not answer ({type(error).__name__})."]
    return []


def _backend_troubles(listings: dict[str, datetime | None], now: datetime) -> list[str]:
    troubles = []
    for name, at in listings.items():
        if at is None:
            troubles.append(f"The backend {name!r} was not listed yet.")
        elif (now - at).total_seconds() > STALE_S:
            troubles.append(f"The backend {name!r} was last listed at {at.isoformat(timespec='seconds')}.")
    return troubles
