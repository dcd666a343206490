"""Who a JupyterHub token belongs to: asked at the hub, remembered for seconds."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

CACHE_S = 10.0
CACHE_ENTRIES = 4096
ASK_TIMEOUT_S = 5.0

SERVICE_SCOPES = frozenset({"access:services", "access:services!service=sampan"})


class HubUnreachable(Exception):
    """The hub could not be asked; nothing is known about the token."""


@dataclass(frozen=True, slots=True)
class HubUser:
    """A person, as far as this token speaks for them."""

    name: str
    admin: bool
    may_enter: bool
    """Whether the token's scopes reach this service; a notebook server's own token, for one, does not."""
    administers_pages: bool = False
    """Whether they are an administrator who logged in to pages; such a login's token has no administrator's scope."""


def parse_hub_user(model: dict[str, Any]) -> HubUser | None:
    """The person in an answer of `/hub/api/user`; None for what is not a person (a hub service).

    A token is an administrator's only if it carries an administrator's scope: a narrow token stays narrow.
    """
    if model.get("kind") != "user":
        return None
    name = str(model["name"])
    scopes = frozenset(model.get("scopes", ()))
    own = {f"users!user={name}", "users"}
    return HubUser(
        name=name,
        admin=bool(model.get("admin")) and "admin:users" in scopes,
        may_enter=bool(scopes & (SERVICE_SCOPES | own)),
        administers_pages=bool(model.get("admin")) and bool(scopes & {"admin-ui", "admin:users"}),
    )


class HubUsers:
    """Resolves tokens at the hub. One question per token at a time, answers (also refusals) kept `CACHE_S` seconds."""

    def __init__(self, api_url: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._url = f"{api_url.rstrip('/')}/user"
        self._token_url = f"{api_url.rstrip('/')}/oauth2/token"
        self._clock_s = clock_s
        self._known: dict[str, tuple[float, HubUser | None]] = {}
        self._asking: dict[str, asyncio.Task[HubUser | None]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def resolve(self, token: str) -> HubUser | None:
        """Whose token this is; None if nobody's. Raises HubUnreachable when the hub does not say."""
        fingerprint = hashlib.sha256(token.encode()).hexdigest()
        known = self._known.get(fingerprint)
        if known and known[0] > self._clock_s():
            return known[1]
        task = self._asking.get(fingerprint)
        if task is None:
            task = asyncio.create_task(self._ask_and_remember(fingerprint, token))
            self._asking[fingerprint] = task
            task.add_done_callback(lambda _done: self._asking.pop(fingerprint, None))
        return await asyncio.shield(task)

    async def redeem_code(self, code: str, redirect_uri: str, client_id: str, secret: str) -> str | None:
        """The token for what OAuth's authorization brought back; None if the hub takes it for no good.

        Raises HubUnreachable when the hub does not say.
        """
        fields = {
            "client_id": client_id,
            "client_secret": secret,
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
        }
        try:
            async with self._client().post(self._token_url, data=fields, allow_redirects=False) as answer:
                if 400 <= answer.status < 500:
                    return None
                if answer.status != 200:
                    raise HubUnreachable(f"the hub answered {answer.status} to {self._token_url}")
                return str((await answer.json())["access_token"])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            raise HubUnreachable(f"the hub at {self._token_url} does not answer: {type(error).__name__}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask_and_remember(self, fingerprint: str, token: str) -> HubUser | None:
        user = await self._ask(token)
        while len(self._known) >= CACHE_ENTRIES:
            del self._known[next(iter(self._known))]
        self._known.pop(fingerprint, None)
        self._known[fingerprint] = (self._clock_s() + CACHE_S, user)
        return user

    async def _ask(self, token: str) -> HubUser | None:
        try:
            async with self._client().get(
                self._url, headers={"Authorization": f"token {token}"}, allow_redirects=False
            ) as answer:
                if answer.status in (401, 403, 404):
                    return None
                if answer.status != 200:
                    raise HubUnreachable(f"the hub answered {answer.status} to {self._url}")
                return parse_hub_user(await answer.json())
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            raise HubUnreachable(f"the hub at {self._url} does not answer: {type(error).__name__}") from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        return self._session
