"""A hub's REST API, ours or the peer's, spoken to in the same way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

POLL_S = 0.02


class HubClient:
    """Starts and stops servers with an administrator's token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self.session = session
        self.url = url
        self.headers = {"Authorization": f"token {token}"}

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.request(method, f"{self.url}/hub/api{path}", json=body, headers=self.headers) as answer:
            text = await answer.text()
            is_json = "json" in answer.content_type
            return answer.status, await answer.json() if is_json else text

    async def add_users(self, names: list[str]) -> None:
        status, body = await self.call("POST", "/users", {"usernames": names})
        assert status == 201, body

    async def token_of(self, name: str) -> str:
        """A token of this person, for their own server."""
        status, body = await self.call("POST", f"/users/{name}/tokens", {"note": "bench"})
        assert status == 201, body
        return str(body["token"])

    async def start(self, name: str, options: dict[str, Any] | None = None) -> int:
        """Ask for a server and wait as the pending page does; the status of the asking."""
        status, body = await self.call("POST", f"/users/{name}/server", options or {})
        if status == 202:
            await self._wait_ready(name)
        elif status not in (201, 429):
            raise AssertionError(f"a server for {name} was refused: {status} {body}")
        return status

    async def _wait_ready(self, name: str) -> None:
        url = f"{self.url}/hub/api/users/{name}/server/progress"
        async with self.session.get(url, headers=self.headers) as answer:
            async for line in answer.content:
                if b'"ready": true' in line:
                    return
                assert b'"failed": true' not in line, line.decode()
        raise AssertionError(f"{name}: the progress ended without a server")

    async def until_server_answers(self, name: str, token: str, timeout_s: float = 60) -> None:
        """The notebook server itself, through the proxy."""
        headers = {"Authorization": f"token {token}"}
        deadline_s = time.monotonic() + timeout_s
        while True:
            async with self.session.get(f"{self.url}/user/{name}/api/status", headers=headers) as answer:
                if answer.status == 200:
                    return
            assert time.monotonic() < deadline_s, f"{name}'s server does not answer"
            await asyncio.sleep(POLL_S)

    async def stop(self, name: str, timeout_s: float = 60) -> None:
        """Stop the server and wait until the hub has none."""
        deadline_s = time.monotonic() + timeout_s
        await self.call("DELETE", f"/users/{name}/server")
        while (await self.call("GET", f"/users/{name}"))[1].get("servers"):
            assert time.monotonic() < deadline_s, f"{name}'s server does not stop"
            await asyncio.sleep(0.1)

    async def answers(self) -> bool:
        """Whether the API works: it knows who asks and reads its database."""
        try:
            return (await self.call("GET", "/users?limit=1"))[0] == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@asynccontextmanager
async def hub_client(url: str, token: str) -> AsyncIterator[HubClient]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield HubClient(session, url, token)
