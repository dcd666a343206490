"""The API server, asked in JSON: what goes in and out are the objects as Kubernetes itself writes them.

Over aiohttp, which the service has loaded anyway: the generated client costs 100 MiB and seconds to import, and none
of the lighter ones takes and gives plain objects without closing everybody's connection at a refused request.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from sampan_hub.backends.base import BackendError
from sampan_hub.settings.access import Access

Json = dict[str, Any]

CALL_LIMIT_S = 20.0
"""After so long a call is given up; the server is told the same, so that none takes effect later."""
CONNECT_LIMIT_S = 5.0
CONNECTIONS = 40
TOKEN_FRESH_S = 60.0
ACCEPTED = "application/json, */*;q=0.5"
"""JSON under whatever name: the published keys are called otherwise, and refused to who asks for this one alone."""
MERGE_PATCH = "application/merge-patch+json"


class ApiUnreachable(BackendError):
    """The API server did not answer, or not as one: nothing is known of what was asked."""


class ApiRefused(BackendError):
    """The API server answered that it will not do it. `reason` is its own word, such as `AlreadyExists`."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"Kubernetes answered {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def is_passing(self) -> bool:
        """Whether the same call may well succeed in a moment. (401: a token is replaced, or who checks it is away.)"""
        return self.status in (401, 429, 500, 502, 503, 504) or (self.status == 409 and self.reason == "Conflict")


class KubeClient:
    """Calls to one API server. Made on an event loop and closed there."""

    def __init__(self, access: Access, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock_s = clock_s
        self._session: aiohttp.ClientSession | None = None
        self._token: tuple[float, str] | None = None
        self.answered_at_s = -float("inf")
        """When the server last answered anything at all."""

    @property
    def namespace(self) -> str:
        return self._access.namespace

    async def get(self, path: str, **query: str) -> Json:
        return await self._call("GET", path, query)

    async def post(self, path: str, body: Json) -> Json:
        """Make an object. Raises ApiRefused with `AlreadyExists` where its name is taken."""
        return await self._call("POST", path, {}, body)

    async def put(self, path: str, body: Json) -> Json:
        return await self._call("PUT", path, {}, body)

    async def patch(self, path: str, body: Json) -> Json:
        """Merge these values into an object."""
        return await self._call("PATCH", path, {}, body, MERGE_PATCH)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        return await self._call("DELETE", path, {}, body)

    async def text(self, path: str, **query: str) -> bytes:
        """An answer that is no JSON: a log."""
        async with self._request("GET", path, query, None, None, CALL_LIMIT_S) as answer:
            return await answer.read()

    @asynccontextmanager
    async def stream(self, path: str, silence_s: float, **query: str) -> AsyncIterator[AsyncIterator[Json]]:
        """JSON objects line by line until the server ends it. Raises after `silence_s` without a word."""
        async with self._request("GET", path, query, None, None, None, silence_s) as answer:
            yield self._objects(answer)

    async def _objects(self, answer: aiohttp.ClientResponse) -> AsyncIterator[Json]:
        rest = b""
        async for chunk in answer.content.iter_any():
            self.answered_at_s = self._clock_s()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield _parse(line)
        if rest.strip():
            raise ApiUnreachable("the API server's answer broke off in the middle")

    async def _call(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, form: str = "application/json"
    ) -> Json:
        limits = {} if method == "GET" else {"timeout": f"{CALL_LIMIT_S:g}s"}
        async with self._request(method, path, {**query, **limits}, body, form, CALL_LIMIT_S) as answer:
            return _parse(await answer.read())

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        form: str | None,
        limit_s: float | None,
        silence_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        limits = aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_LIMIT_S, sock_read=silence_s)
        headers = await self._headers()
        data = None
        if body is not None:
            data = json.dumps(body, separators=(",", ":")).encode()
            headers["Content-Type"] = form or "application/json"
        url = f"{self._access.server}{path}"
        try:
            async with self._opened().request(
                method, url, params=query, data=data, headers=headers, timeout=limits, allow_redirects=False
            ) as answer:
                self.answered_at_s = self._clock_s()
                if answer.status >= 300:
                    raise _refusal(answer.status, await answer.read(), answer.headers)
                yield answer
        except TimeoutError as error:
            raise ApiUnreachable(f"the API server did not answer {method} {path} in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnreachable(f"the API server cannot be reached: {error or type(error).__name__}") from error

    async def _headers(self) -> dict[str, str]:
        headers = {"Accept": ACCEPTED}
        token = self._access.token
        if self._access.token_file is not None:
            token = await self._read_token(self._access.token_file)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def _read_token(self, file: Path) -> str:
        if self._token is None or self._clock_s() - self._token[0] > TOKEN_FRESH_S:
            try:
                self._token = (self._clock_s(), (await asyncio.to_thread(file.read_text)).strip())
            except OSError as error:
                raise ApiUnreachable(f"the token for the API server cannot be read: {error}") from error
        return self._token[1]

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=_make_tls(self._access))
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _make_tls(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca.decode() if access.ca is not None else None)
    if access.certificate is not None and access.key is not None:
        # The module takes certificates from files alone; this one is the owner's own and gone at once.
        with tempfile.NamedTemporaryFile() as file:
            file.write(access.certificate + b"\n" + access.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _parse(data: bytes) -> Json:
    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise ApiUnreachable("the API server's answer is no JSON; nothing is concluded from it") from error
    if not isinstance(parsed, dict):
        raise ApiUnreachable("the API server's answer is no object; nothing is concluded from it")
    return parsed


def _refusal(status: int, data: bytes, headers: Mapping[str, str]) -> ApiRefused:
    try:
        said = json.loads(data)
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    message = str(said.get("message") or data[:300].decode(errors="replace"))
    wait = headers.get("Retry-After", "")
    return ApiRefused(status, str(said.get("reason") or ""), message, float(wait) if wait.isdecimal() else 0.0)
