"""The entry by which pods reach light installations; it writes down which runs were let to work."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import defaultdict

from tests.chaos.entry import Entry

NOTED = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class PodsEntry(Entry):
    """`routes`: the ports of each installation's services, of which every connection gets one.
    `runs`: by job id, each run that was let to work, told by `POST /runs/JOB/RUN`."""

    def __init__(self) -> None:
        self.routes: dict[str, list[int]] = {}
        self.runs: defaultdict[str, list[str]] = defaultdict(list)
        self.url = ""
        self._server: asyncio.Server | None = None

    def find_port(self, name: str) -> int:
        return random.choice(self.routes[name])

    def note(self, path: list[str]) -> bytes | None:
        if path[0] != "runs":
            return None
        _, job, run = path
        self.runs[job].append(run)
        return NOTED

    async def open(self, host: str, context: ssl.SSLContext) -> None:
        self._server = await self.listen(host, 0, context)
        self.url = f"https://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def doubles(self, instance: str) -> set[str]:
        """Ids under which more than one run was let to work."""
        return {job for job, runs in self.runs.items() if job.startswith(f"{instance}.") and len(set(runs)) > 1}
