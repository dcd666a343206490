"""Who looks at a page: whoever JupyterHub logged in, or nobody. Forms are taken from our own pages only."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, cast
from urllib.parse import parse_qs

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from sampan_hub.backends.base import BackendError
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import context_of
from sampan_hub.service.hubusers import HubUnreachable
from sampan_hub.service.pages.login import redirect_to_login
from sampan_hub.service.pages.session import SESSION_COOKIE, SESSION_S
from sampan_hub.service.pages.site import pages_of
from sampan_hub.service.problems import ApiProblem, fail

MOST_FIELDS = 10_100
PART = "x-sampan-part"
"""The header with which our script asks for a part of a page; it must not be sent to the login."""


class NotLoggedIn(Exception):
    """Nobody JupyterHub knows (any more)."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person before the page."""

    caller: Caller
    form_token: str

    @property
    def name(self) -> str:
        return self.caller.subject


async def visitor(request: Request) -> Visitor:
    """Whose session this is; raises NotLoggedIn, or 503 while the hub cannot say."""
    seal = pages_of(request).seal
    token = seal.open(request.cookies.get(SESSION_COOKIE), SESSION_S)
    if token is None:
        raise NotLoggedIn
    try:
        user = await context_of(request).hub_users.resolve(token)
    except HubUnreachable as error:
        detail = "The hub does not answer, so nobody can be recognised just now. Servers and clusters run on."
        raise fail(503, "hub-unreachable", detail, retry_after_s=2) from error
    if user is None or not user.may_enter:
        raise NotLoggedIn
    caller = Caller("user", user.name, owner=user.name, admin=user.administers_pages)
    who = request.state.visitor = Visitor(caller, seal.form_token(token))
    return who


async def administrator(who: Annotated[Visitor, Depends(visitor)]) -> Visitor:
    """The same, if an administrator; else 403."""
    if not who.caller.admin:
        raise fail(403, "forbidden", "This page is for administrators. Your own work is under My work.")
    return who


async def form(request: Request, who: Annotated[Visitor, Depends(visitor)]) -> dict[str, list[str]]:
    """The fields of a form that one of our pages sent in this very session; anything else is refused."""
    try:
        body = (await request.body()).decode()
        fields = parse_qs(body, max_num_fields=MOST_FIELDS, keep_blank_values=True)
    except ValueError as error:
        raise fail(400, "invalid", "This form cannot be read. Load the page again and repeat.") from error
    if not hmac.compare_digest(who.form_token.encode(), fields.pop("_xsrf", [""])[0].encode()):
        raise fail(403, "forbidden", "This form is too old, or came from another site. Load the page again and repeat.")
    return fields


class PageRoute(APIRoute):
    """Answers problems as pages for people, and sends whoever is not logged in to the hub and back."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                return await handle(request)
            except NotLoggedIn:
                return Response(status_code=401) if PART in request.headers else redirect_to_login(request)
            except ApiProblem as error:
                return await problem_page(request, error)
            except BackendError as error:
                detail = f"What was asked for cannot be read just now: {error}. Try again in a moment."
                return await problem_page(request, fail(503, "backend-unreachable", detail, retry_after_s=2))

        return cast(Callable[[Request], Coroutine[Any, Any, Response]], handle_page)


async def problem_page(request: Request, error: ApiProblem) -> Response:
    """What went wrong and what to do, as a page."""
    who: Visitor | None = getattr(request.state, "visitor", None)
    answer = await pages_of(request).page(
        "problem.html",
        who.name if who else None,
        is_admin=who is not None and who.caller.admin,
        status=error.problem.status,
        problem=error.problem,
    )
    answer.headers.update({name: value for name, value in error.headers.items() if name == "Retry-After"})
    return answer


Who = Annotated[Visitor, Depends(visitor)]
AdminWho = Annotated[Visitor, Depends(administrator)]
Form = Annotated[dict[str, list[str]], Depends(form)]
