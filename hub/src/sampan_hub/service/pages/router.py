"""All pages and their own few files, below the service's path."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from sampan_hub.service.context import Context
from sampan_hub.service.pages import apidoc, everything, login, work
from sampan_hub.service.pages.site import STATIC, Pages


def add_pages(app: FastAPI, context: Context, base_path: str) -> None:
    """Serve them beside the API."""
    app.state.pages = Pages(context, base_path)
    for part in (login, work, everything, apidoc):
        app.include_router(part.router, prefix=base_path)
    app.mount(f"{base_path}/static", StaticFiles(directory=STATIC), name="static")
