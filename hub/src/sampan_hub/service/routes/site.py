"""What the site offers and how it is: offers, quotes, who I am, findings, the pause."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from sampan_hub.jobs.admission import allowed_now
from sampan_hub.jobs.drafts import Selection
from sampan_hub.jobs.model import State
from sampan_hub.service.access import Admin, Asker, Ctx, allow
from sampan_hub.service.answers import json_answer
from sampan_hub.service.auth import Caller
from sampan_hub.service.capacities import how_many
from sampan_hub.service.choices import (
    backend_names,
    default_size,
    project_names,
    resources_of,
    size_names,
    tenant_of,
)
from sampan_hub.service.context import Context
from sampan_hub.service.problems import bad_field
from sampan_hub.service.views import view_finding
from sampan_hub.service.wire import (
    FindingsAnswer,
    OffersAnswer,
    PauseAnswer,
    PauseRequest,
    QuoteAnswer,
    SizeView,
    WhoamiAnswer,
)
from sampan_hub.settings.model import Settings

VERSION = version("sampan-hub")

router = APIRouter(tags=["site"])

Text = Annotated[str | None, Query(max_length=255)]
Anyone = Annotated[Caller, Depends(allow("hub", "admin", "user", "notebook", "scheduler", "worker"))]


@router.get("/offers", response_model=OffersAnswer)
async def offers(
    caller: Asker, context: Ctx, owner: Text = None, project: Text = None, backend: Text = None
) -> Response:
    """What may be chosen. The hub and administrators say for whom (`owner`); others ask for themselves."""
    person = _person(caller, owner)
    names = project_names(context.settings, person)
    chosen = _project(names, caller, project)
    places = _backends(context.settings, caller, chosen)
    there = _backend(places, backend)
    sizes = size_names(context.settings, chosen, there) if chosen and there else []
    answer = OffersAnswer(
        sizes=[await _size_view(context, person, chosen, there, name) for name in sizes] if chosen and there else [],
        default_size=(default_size(context.settings, chosen, there) if chosen and there else None) or "",
        environments=list(context.settings.environments),
        projects=names,
        backends=places,
        backend=there or "",
        currency=context.settings.currency,
        paused=await context.reading(context.store.paused),
        waiting=await _waiting(context, there) if there else 0,
    )
    return json_answer(answer.model_dump_json())


@router.get("/quote", response_model=QuoteAnswer)
async def quote(
    caller: Asker,
    context: Ctx,
    size: Text = None,
    n: Annotated[int, Query(ge=1, le=10_000)] = 1,
    owner: Text = None,
    project: Text = None,
    backend: Text = None,
) -> Response:
    """What `n` jobs of a size would take and cost per hour, and how many one may have now."""
    person = _person(caller, owner)
    chosen = _project(project_names(context.settings, person), caller, project)
    there = _backend(_backends(context.settings, caller, chosen), backend)
    allowed = size_names(context.settings, chosen, there) if chosen and there else []
    name = size or (default_size(context.settings, chosen, there) if chosen and there else None)
    if chosen is None or there is None or name not in allowed:
        raise bad_field("size", f"{name!r} is not a size you may use.", allowed)
    view = await _size_view(context, person, chosen, there, name)
    price = view.price_micros_per_hour
    answer = QuoteAnswer(
        size=name,
        n=n,
        cores_milli=n * view.cores_milli,
        memory_bytes=n * view.memory_bytes,
        gpus=n * view.gpus,
        price_micros_per_hour=None if price is None else n * price,
        currency=context.settings.currency,
        allowed_now=view.allowed_now,
    )
    return json_answer(answer.model_dump_json())


@router.get("/whoami", response_model=WhoamiAnswer)
async def whoami(caller: Anyone, context: Ctx) -> Response:
    """How the service takes this request."""
    answer = WhoamiAnswer(
        kind=caller.kind,
        subject=caller.subject,
        owner=caller.owner,
        admin=caller.admin,
        version=VERSION,
        instance=context.instance,
    )
    return json_answer(answer.model_dump_json())


@router.get("/findings", response_model=FindingsAnswer)
async def findings(_caller: Admin, context: Ctx) -> Response:
    """What an administrator should look at, each with its remedy."""
    found = await context.reading(context.store.findings)
    return json_answer(FindingsAnswer(findings=[view_finding(finding) for finding in found]).model_dump_json())


@router.get("/pause", response_model=PauseAnswer)
async def show_pause(_caller: Asker, context: Ctx) -> Response:
    """The sentence with which new work is refused, if it is."""
    return json_answer(PauseAnswer(sentence=await context.reading(context.store.paused)).model_dump_json())


@router.put("/pause", response_model=PauseAnswer)
async def pause(body: PauseRequest, _caller: Admin, context: Ctx) -> Response:
    """Refuse new work with a sentence; null takes it again. What runs is not touched."""
    await context.writing(context.store.pause, body.sentence)
    return json_answer(PauseAnswer(sentence=body.sentence).model_dump_json())


async def _waiting(context: Context, backend: str) -> int:
    """How many jobs wait for room at this backend."""
    selection = Selection(backend=backend, states=frozenset({State.ACCEPTED, State.QUEUED}))
    _, jobs = await context.reading(context.store.jobs, selection)
    return sum(job.position is not None for job in jobs)


def _person(caller: Caller, owner: str | None) -> str:
    """For whom the question is asked."""
    if caller.sees_all and owner:
        return owner
    if caller.owner is None:
        raise bad_field("owner", "Say for whom: the hub and the command line ask for a person.")
    if owner not in (None, caller.owner):
        raise bad_field("owner", "You ask for yourself.", [caller.owner])
    return caller.owner


def _project(names: list[str], caller: Caller, asked: str | None) -> str | None:
    """The project asked for, else the one the caller works in, else the person's first; None without any."""
    if asked is not None:
        if asked not in names:
            raise bad_field("project", f"{asked!r} is not a project you may use.", names)
        return asked
    record = caller.cluster or caller.job
    return record.project if record and record.project in names else next(iter(names), None)


def _backends(settings: Settings, caller: Caller, project: str | None) -> list[str]:
    """Where the caller's next job may run, the default first: a cluster's or notebook's are workers."""
    if project is None:
        return []
    if caller.cluster is not None:
        return [name for name in backend_names(settings, project, None) if name == caller.cluster.backend]
    return backend_names(settings, project, caller.job.backend if caller.job else None)


def _backend(names: list[str], asked: str | None) -> str | None:
    """The backend asked for, else the default; None without any."""
    if asked is not None and asked not in names:
        raise bad_field("backend", f"{asked!r} is not a backend you may use.", names)
    return asked or next(iter(names), None)


async def _size_view(context: Context, owner: str, project: str, backend: str, name: str) -> SizeView:
    settings = context.settings
    size = settings.sizes[name]
    each = resources_of(size)
    usage = await context.reading(context.store.usage, owner, project, tenant_of(settings, project, owner))
    return SizeView(
        name=name,
        cores_milli=each.cores_milli,
        memory_bytes=each.memory_bytes,
        gpus=each.gpus,
        price_micros_per_hour=size.price_per_hour,
        free_now=how_many(await context.capacities.free(backend), each),
        allowed_now=allowed_now(usage, settings.limits, owner, project, each),
    )
