"""A kernel on a real server, spoken to as a browser does: REST to start it, a websocket for its messages."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp


@dataclass(slots=True)
class Result:
    """What one execution gave back. `error` is the traceback text, empty when it went well."""

    text: str = ""
    value: str = ""
    error: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)

    def checked(self) -> Self:
        assert not self.error, self.error
        return self


class Kernel:
    """One kernel of the server at `base_url` (…/user/NAME/), by its id."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, kernel_id: str, token: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._token = token
        self.id = kernel_id

    @classmethod
    async def start(cls, session: aiohttp.ClientSession, base_url: str, token: str, name: str = "python3") -> Self:
        headers = {"Authorization": f"token {token}"}
        async with session.post(
            f"{base_url.rstrip('/')}/api/kernels", json={"name": name}, headers=headers
        ) as response:
            assert response.status == 201, await response.text()
            return cls(session, base_url, (await response.json())["id"], token)

    async def execute(self, code: str, timeout_s: float = 60) -> Result:
        """Run `code` and collect everything until the kernel is idle again. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._channels() as channels:
            message_id = uuid.uuid4().hex
            await channels.send_str(json.dumps(_execute_request(code, message_id)))
            return await _collect(channels, message_id)

    @asynccontextmanager
    async def _channels(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        url = f"{self._base_url}/api/kernels/{self.id}/channels"
        headers = {"Authorization": f"token {self._token}"}
        async with self._session.ws_connect(url, headers=headers, max_msg_size=0) as channels:
            yield channels


def _execute_request(code: str, message_id: str) -> dict[str, Any]:
    return {
        "channel": "shell",
        "header": {
            "msg_id": message_id,
            "msg_type": "execute_request",
            "session": uuid.uuid4().hex,
            "username": "",
            "version": "5.3",
            "date": "",
        },
        "parent_header": {},
        "metadata": {},
        "buffers": [],
        "content": {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        },
    }


async def _collect(channels: aiohttp.ClientWebSocketResponse, message_id: str) -> Result:
    result = Result()
    idle = replied = False
    while not (idle and replied):
        message = await channels.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise ConnectionError(f"the kernel's websocket closed: {message.type}")
        reply = json.loads(message.data)
        if reply["parent_header"].get("msg_id") != message_id:
            continue
        content = reply["content"]
        match reply["msg_type"]:
            case "stream":
                result.text += content["text"]
            case "execute_result":
                result.value = content["data"].get("text/plain", "")
            case "display_data":
                result.displays.append(content["data"])
            case "error":
                result.error = "\n".join(content["traceback"])
            case "status":
                idle = content["execution_state"] == "idle"
            case "execute_reply":
                replied = True
    return result
