"""The output of jobs: from the API server while their pods are there, and kept in the journal before those go."""

from __future__ import annotations

import asyncio
import logging

from sampan_hub.backends.base import BackendError, LogTail
from sampan_hub.backends.kubernetes.client import ApiRefused, KubeClient
from sampan_hub.backends.kubernetes.journal import Journal, Output
from sampan_hub.backends.kubernetes.pod import CONTAINER
from sampan_hub.backends.kubernetes.sighting import Sighting
from sampan_hub.backends.kubernetes.states import main_status

log = logging.getLogger(__name__)

KEPT_BYTES = 1 << 20
"""The most that is kept of one job's output."""
KEPT_LINES = 20_000
HURRY_S = 3.0
"""How long a job's stop waits for what it wrote so far."""
_NO_OUTPUT = frozenset({400, 404})
"""Answers for a container that has not begun, and for a pod that is gone."""


class Outputs:
    """Reads and keeps what jobs write."""

    def __init__(self, client: KubeClient, pods_path: str, journal: Journal) -> None:
        self._client = client
        self._path = pods_path
        self._journal = journal

    async def tail(self, job_id: str, sighting: Sighting | None, lines: int) -> LogTail:
        """The last lines: live while the pod is there, else as they were kept."""
        output = None
        if sighting is not None:
            output = await self._fetch(sighting, lines + 1)
        output = output or await self._journal.output(job_id)
        return make_tail(output, lines) if output is not None else LogTail((), truncated=False)

    async def keep(self, sighting: Sighting) -> None:
        """Put the end of what it wrote into the journal. Raises BackendError where that cannot be had now."""
        output = await self._fetch(sighting, KEPT_LINES)
        if output is not None:
            await self._journal.note_output(sighting.job_id, output)

    async def keep_quickly(self, sighting: Sighting) -> None:
        """The same, as far as it can be had at once: a stop does not wait for output."""
        if not main_status(sighting.pod).get("started"):
            return
        try:
            async with asyncio.timeout(HURRY_S):
                await self.keep(sighting)
        except (BackendError, TimeoutError) as error:
            log.info("the output of %s is not kept: %s", sighting.job_id, error or "no answer in time")

    async def _fetch(self, sighting: Sighting, lines: int) -> Output | None:
        path = f"{self._path}/{sighting.name}/log"
        try:
            data = await self._client.text(path, container=CONTAINER, tailLines=str(lines))
        except ApiRefused as error:
            if error.status in _NO_OUTPUT:
                return None
            raise
        return Output(data[-KEPT_BYTES:], truncated=len(data) > KEPT_BYTES or data.count(b"\n") >= lines)


def make_tail(output: Output, lines: int) -> LogTail:
    """The last lines of what was kept."""
    every = output.data.decode(errors="replace").splitlines()
    last = every[-lines:] if lines > 0 else []
    return LogTail(tuple(last), truncated=output.truncated or len(every) > len(last))
