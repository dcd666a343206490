"""Whole installations of ours to be measured: `sampan up`, with and without the fork server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.model import LocalBackend
from sampan_hub.settings.paths import StatePaths
from tests.bench.peers import read_answer
from tests.support.installation import Installation, wait_until
from tests.support.kernels import Kernel

NAME = "ana"
SETTINGS = """
isolation: none
sizes: {{notebook: {{cores: 1, memory: 1G}}, worker: {{cores: 1, memory: 1G}}}}
backends: {{local: {{kind: local, cores: 2, overcommit: 32, memory: 14G{fork}}}}}
"""
CAN_FORK = "fork" in LocalBackend.model_fields
NO_FORK = "this version has no fork server"


def settings(*, forked: bool) -> str:
    return SETTINGS.format(fork=f", fork: {str(forked).lower()}" if CAN_FORK else "")


@contextmanager
def installation(folder: Path, *, forked: bool) -> Iterator[Installation]:
    site = Installation(folder, settings(forked=forked))
    try:
        site.start()
        site.run("user", "add", NAME)
        if forked and CAN_FORK:
            site.wait_for_fork_servers()
        yield site
    finally:
        site.stop()


def cli_token(site: Installation) -> str:
    return read_key(StatePaths(site.state).key("cli-token")).decode()


class NotebookPython:
    """A kernel of a running notebook of ours that runs cells, as `PeerPython` does."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def ask(self, code: str, timeout_s: float = 300) -> Any:
        return read_answer((await self._kernel.execute(code, timeout_s)).checked().text)


@asynccontextmanager
async def notebook_python(site: Installation) -> AsyncIterator[NotebookPython]:
    """A kernel of a server that is started for it."""
    token = site.token(NAME)
    status, body = site.call("POST", f"/hub/api/users/{NAME}/server", token, {})
    assert status in (201, 202), body
    wait_until(lambda: site.call("GET", f"/user/{NAME}/api/status", token)[0] == 200, 60, "the server answers")
    async with aiohttp.ClientSession() as session:
        yield NotebookPython(await Kernel.start(session, f"{site.url}/user/{NAME}", token))
