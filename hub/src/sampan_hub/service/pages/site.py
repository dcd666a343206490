"""Where the pages lie and how they are rendered: JupyterHub's templates with ours in front."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import Request
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, Undefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from sampan_hub import look
from sampan_hub.look import words
from sampan_hub.service.context import Context, utc_now
from sampan_hub.service.pages.session import Seal
from sampan_hub.settings.address import parse_url

HERE = Path(__file__).parent
STATIC = HERE / "static"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # the hub's page.html has inline scripts; nothing may come from, or go to, another site
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
}


@dataclass(frozen=True, slots=True)
class PageUser:
    """A person as the hub's `page.html` needs them."""

    name: str

    @property
    def escaped_name(self) -> str:
        return quote(self.name, safe="@~")

    @property
    def json_escaped_name(self) -> str:
        """The name within a JavaScript string in a page."""
        return self.name.translate({ord(letter): f"\\u{ord(letter):04x}" for letter in "\"\\<>&'"})


class Pages:
    """The pages of one service; made once, its templates read when first asked for."""

    def __init__(self, context: Context, base: str) -> None:
        """`base`: the service's path, `/services/sampan`."""
        scheme, _, self.prefix = parse_url(context.settings.url)
        self.is_https = scheme == "https"
        self.base = base
        self.hub = f"{self.prefix}hub/"
        self.seal = Seal(context.keys.service)
        self.currency = context.settings.currency

    @cached_property
    def _templates(self) -> Environment:
        from jupyterhub._data import DATA_FILES_PATH  # where its files lie; a service without visitors need not know

        hub = FileSystemLoader(os.path.join(DATA_FILES_PATH, "templates"))  # noqa: PTH118 - the hub gives a str
        ours = FileSystemLoader([HERE / "templates", look.TEMPLATES])
        loader = ChoiceLoader([PrefixLoader({"templates": hub}), ours, hub])
        templates = Environment(loader=loader, autoescape=True, undefined=_Known, trim_blocks=True)
        templates.filters["prose"] = prose
        templates.globals |= {
            "words": words,
            "prefix": self.prefix,
            "base_url": self.hub,
            "pages": f"{self.base}/",
            "currency": self.currency,
            "static_url": lambda path, **_options: f"{self.hub}static/{path}",
            "own_static": self.own_static,
            "logout_url": f"{self.hub}logout",
            "login_url": f"{self.hub}login",
            "no_spawner_check": True,
            "version_hash": "",
            "xsrf_token": "",
            "services": [],
        }
        return templates

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """The text of a page or a part of one, now."""
        return self._templates.get_template(template).render(now=utc_now(), **values)

    async def page(
        self, template: str, person: str | None, *, is_admin: bool = False, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A whole page for this person (None: for nobody in particular)."""
        shown = {
            "user": PageUser(person) if person else None,
            "parsed_scopes": {"admin-ui"} if is_admin else set(),
            "admin_access": is_admin,
            **values,
        }
        return HTMLResponse(await self.part(template, shown), status_code=status, headers=HEADERS)

    async def part(self, template: str, values: Mapping[str, Any]) -> str:
        """The text of a part of a page. Rendered in a thread: hundreds of jobs take a while."""
        return await anyio.to_thread.run_sync(self.render, template, values)

    def own_static(self, name: str) -> str:
        """Where one of our own files lies; another version of it lies elsewhere, so browsers may keep it."""
        digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
        return f"{self.base}/static/{name}?v={digest}"


def prose(text: str) -> Markup:
    """A docstring as HTML: paragraphs, and `code` as such."""
    paragraphs = re.split(r"\n\s*\n", str(escape(text.strip())))
    marked = (re.sub(r"`([^`]+)`", r"<code>\1</code>", paragraph) for paragraph in paragraphs)
    return Markup("".join(f"<p>{paragraph}</p>" for paragraph in marked))  # noqa: S704 - escaped just above


class _Known(Undefined):
    """May be asked whether it is there, as the hub's templates do, but never be shown: misspelt names are found."""

    __str__ = Undefined._fail_with_undefined_error


def pages_of(request: Request) -> Pages:
    """The pages of the service that answers this request."""
    pages: Pages = request.app.state.pages
    return pages
