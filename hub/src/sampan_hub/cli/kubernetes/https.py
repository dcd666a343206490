"""One request to the entry, from a pod that is neither hub nor proxy. Standard library."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan_hub.cli.supervise import console

ASK_TIMEOUT_S = 15.0


class NoAnswer(Exception):
    """Nothing usable came back: why, in words."""


@dataclass(frozen=True, slots=True)
class EntryClient:
    """Asks below `url` whoever shows a certificate for it; `ca` is the authority's, None: those the system knows."""

    url: str
    ca: Path | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise console.Failure(f"{self.url} is not https://NAME/")

    def target(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{path}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer, the text where it is no JSON; raises NoAnswer."""
        trust = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(self.target(path), data, headers, method=method)  # noqa: S310 - only https
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=ASK_TIMEOUT_S) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise NoAnswer(f"it answers {error.code}: {error.read(500).decode(errors='replace')}") from error
        except OSError as error:
            raise NoAnswer(f"it does not answer: {getattr(error, 'reason', error)}") from error
        try:
            return json.loads(content)
        except ValueError:
            return content.decode(errors="replace")
