"""The nodes, listed seldom: what they have in all, and whether any can ever hold a size."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from sampan_hub.backends.base import BackendError, Capacity, JobSpec
from sampan_hub.backends.kubernetes.capacity import NONE, Node, less, misfit, parse_node, total_of
from sampan_hub.backends.kubernetes.client import ApiRefused, KubeClient
from sampan_hub.jobs.model import Reason, Resources
from sampan_hub.settings.kubernetes import KubernetesBackend

log = logging.getLogger(__name__)

NODES = "/api/v1/nodes"
FRESH_S = 30.0


class Room:
    """Remembers the nodes for a while. Where they may not be listed, nothing is said of them."""

    def __init__(
        self, client: KubeClient, settings: KubernetesBackend, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock_s = clock_s
        self._turn = asyncio.Lock()
        self._nodes: tuple[float, Sequence[Node] | None] | None = None

    async def capacity(self, held: Iterable[Resources]) -> Capacity:
        """Total, and what is left of it beside what our own jobs hold."""
        nodes = await self._listed()
        if nodes is None:
            return Capacity(None, None, queues=True)
        total = total_of(nodes, self._settings)
        return Capacity(total, less(total, sum(held, NONE)), queues=True)

    async def misfits(self, batch: Sequence[JobSpec]) -> Mapping[str, Reason]:
        """Which of these jobs no node can ever hold, and why. Nodes that cannot be listed now hold nobody up."""
        try:
            nodes = await self._listed()
        except BackendError as error:
            log.info("nodes cannot be listed: %s", error)
            return {}
        found: dict[str, Reason] = {}
        for spec in batch:
            identity = spec.identity
            placement = self._settings.placement_of(identity.size)
            reason = misfit(identity.resources, identity.size, placement, nodes or ())
            if reason is not None:
                found[spec.job_id] = reason
        return found

    async def _listed(self) -> Sequence[Node] | None:
        async with self._turn:
            if self._nodes is None or self._clock_s() - self._nodes[0] > FRESH_S:
                self._nodes = (self._clock_s(), await self._list())
            return self._nodes[1]

    async def _list(self) -> Sequence[Node] | None:
        try:
            listed = await self._client.get(NODES)
        except ApiRefused as error:
            if error.status != 403:
                raise
            return None
        try:
            return [parse_node(node) for node in listed["items"]]
        except (KeyError, ValueError) as error:
            raise BackendError(f"the list of nodes is not understood: {error}") from error
