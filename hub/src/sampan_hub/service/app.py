"""The ASGI app: routes under one base path, problem details for everything else, and what runs beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRouter

from sampan_hub.backends.base import Closing
from sampan_hub.service.context import Context
from sampan_hub.service.guard import Guard
from sampan_hub.service.pages.router import add_pages
from sampan_hub.service.problems import install_problem_handlers
from sampan_hub.service.routes import clusters, health, jobs, session, site, words
from sampan_hub.service.routes.site import VERSION

log = logging.getLogger(__name__)


def make_app(context: Context, base_path: str, on_crash: Callable[[], None]) -> FastAPI:
    """The service of `context` below `base_path` (`/services/sampan`).

    `on_crash` is called when the reconciler or the watcher of revisions fails: the process should then end and be
    started anew, because without them it would tell yesterday's truth.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with _background(context, on_crash):
            yield

    app = FastAPI(
        title="Sampan compute service",
        version=VERSION,
        openapi_url=f"{base_path}/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.context = context
    install_problem_handlers(app)
    api = APIRouter(prefix="/api/v1")
    for routes in (jobs, words, clusters, session, site):
        api.include_router(routes.router)
    app.include_router(api, prefix=base_path)
    app.include_router(health.router, prefix=base_path)
    add_pages(app, context, base_path)
    app.add_middleware(Guard, metrics=context.metrics)
    return app


@asynccontextmanager
async def _background(context: Context, on_crash: Callable[[], None]) -> AsyncIterator[None]:
    """The reconciler and the watcher of revisions, for as long as the app serves."""

    def note_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("%s ended; the service ends with it", task.get_name(), exc_info=task.exception())
            on_crash()

    unsubscribe = context.store.subscribe(lambda _revision: context.revisions.poke())
    tasks = [
        asyncio.create_task(context.revisions.run(), name="revisions"),
        asyncio.create_task(context.reconciler.run(), name="reconciler"),
    ]
    for task in tasks:
        task.add_done_callback(note_end)
    try:
        yield
    finally:
        unsubscribe()
        for task in tasks:
            task.remove_done_callback(note_end)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await context.hub_users.close()
        for backend in context.backends.values():
            if isinstance(backend, Closing):
                await backend.aclose()
        await asyncio.to_thread(context.store.close)
