"""Login by JupyterHub: OAuth's authorization code, state checked, the token sealed into a cookie."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from sampan_hub.service.context import context_of
from sampan_hub.service.hubusers import HubUnreachable
from sampan_hub.service.pages.session import LOGIN_COOKIE, LOGIN_S, SESSION_COOKIE, SESSION_S
from sampan_hub.service.pages.site import HEADERS, pages_of
from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.paths import StatePaths

CLIENT_ID = "service-sampan"
"""JupyterHub's name for a service named `sampan` as an OAuth client; its secret is the service's token."""
LONGEST_WAY_BACK = 2000

router = APIRouter(include_in_schema=False)


def redirect_to_login(request: Request) -> Response:
    """Off to the hub, which knows who this is or asks; then back to where the person wanted."""
    pages = pages_of(request)
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    is_page = request.method == "GET" and len(wanted) <= LONGEST_WAY_BACK
    state, cookie = pages.seal.begin_login(wanted if is_page else f"{pages.base}/work")
    query = {"client_id": CLIENT_ID, "redirect_uri": _callback(request), "response_type": "code", "state": state}
    answer = RedirectResponse(f"{pages.hub}api/oauth2/authorize?{urlencode(query)}", 302, HEADERS)
    _set_cookie(request, answer, LOGIN_COOKIE, cookie, LOGIN_S)
    return answer


@router.get("/oauth_callback")
async def come_back(
    request: Request,
    code: Annotated[str, Query(max_length=512)] = "",
    state: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """The hub sends the person back: a code for a token, if this very browser asked for it."""
    pages, context = pages_of(request), context_of(request)
    back_to = pages.seal.finish_login(request.cookies.get(LOGIN_COOKIE), state)
    if back_to is None or not code:
        detail = "This login was not begun here, or took longer than ten minutes."
        return await pages.page("login_failed.html", None, status=403, detail=detail)
    secret = read_key(StatePaths(context.settings.state_dir).key("service-token")).decode()
    try:
        token = await context.hub_users.redeem_code(code, _callback(request), CLIENT_ID, secret)
    except HubUnreachable:
        return await pages.page("login_failed.html", None, status=503, detail="The hub does not answer just now.")
    if token is None:
        return await pages.page("login_failed.html", None, status=403, detail="The hub did not confirm this login.")
    answer = RedirectResponse(back_to, 302, HEADERS)
    _set_cookie(request, answer, SESSION_COOKIE, pages.seal.close(token), SESSION_S)
    answer.delete_cookie(LOGIN_COOKIE, path=f"{pages.base}/")
    return answer


def _callback(request: Request) -> str:
    return f"{pages_of(request).base}/oauth_callback"


def _set_cookie(request: Request, answer: Response, name: str, value: str, most_s: int) -> None:
    """For our own pages alone, not for scripts, not with requests that other sites make."""
    pages = pages_of(request)
    path = f"{pages.base}/"
    answer.set_cookie(name, value, most_s, path=path, secure=pages.is_https, httponly=True, samesite="lax")
