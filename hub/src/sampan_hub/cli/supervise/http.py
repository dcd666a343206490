"""One request to one of our own processes on this machine. Standard library: `sampan link` should not import much."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan_hub.cli.supervise.site import LOOPBACK


class NotAnswering(Exception):
    """No usable answer: nobody listens, or not in time. What the request did is not known."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any
    """The decoded JSON; None when it is none."""

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        """What a refusal says, in JupyterHub's spelling or in ours."""
        body = self.body if isinstance(self.body, dict) else {}
        return str(body.get("detail") or body.get("message") or f"HTTP status {self.status}")


def call(
    method: str,
    port: int,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    timeout_s: float = 10,
) -> Reply:
    """Ask 127.0.0.1:`port`; raises NotAnswering."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotAnswering(f"{method} {path} on port {port}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    try:
        return Reply(response.status, json.loads(content) if content else None)
    except ValueError:
        return Reply(response.status, None)
