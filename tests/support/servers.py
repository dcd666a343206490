"""A notebook server that the real hub started, and a token that may use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.installation import Installation, wait_until


@dataclass(frozen=True, slots=True)
class Server:
    """The server of the one person of a laptop installation."""

    installation: Installation
    name: str
    token: str

    @property
    def url(self) -> str:
        return f"{self.installation.url}/user/{self.name}"

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request to the notebook server."""
        return self.installation.call(method, f"/user/{self.name}{path}", self.token, body)

    def clusters(self) -> list[dict[str, Any]]:
        """What JupyterLab's sidebar shows."""
        status, models = self.call("GET", "/dask/clusters")
        assert status == 200
        return list(models)


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """`sampan up` with one running notebook server; both are gone afterwards."""
    installation = Installation(folder / "site")
    try:
        installation.start()
        name = installation.run("user", "list").stdout.split()[0]
        server = Server(installation, name, installation.token(name))
        status, body = installation.call("POST", f"/hub/api/users/{name}/server", server.token, {})
        assert status in (201, 202), body
        wait_until(lambda: server.call("GET", "/api/status")[0] == 200, 60, "the server answers")
        yield server
    finally:
        installation.stop()
