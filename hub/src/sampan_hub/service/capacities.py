"""How many jobs of a size a backend would start at once, asked rarely."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from sampan_hub.backends.base import Backend, BackendError
from sampan_hub.jobs.model import Resources

log = logging.getLogger(__name__)

FRESH_S = 2.0


def how_many(free: Resources | None, each: Resources) -> int | None:
    """How often `each` fits into what is free; None where the backend does not say."""
    if free is None:
        return None
    pairs = (
        (free.cores_milli, each.cores_milli),
        (free.memory_bytes, each.memory_bytes),
        (free.gpus, each.gpus),
    )
    return min((max(0, there) // asked for there, asked in pairs if asked), default=None)


class Capacities:
    """What each backend has free, remembered for `FRESH_S`; None while it cannot be asked."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends
        self._known: dict[str, tuple[float, Resources | None]] = {}

    async def free(self, name: str) -> Resources | None:
        """What the backend `name` has free now."""
        known = self._known.get(name)
        if known and time.monotonic() - known[0] < FRESH_S:
            return known[1]
        try:
            free = (await self._backends[name].capacity()).free
        except BackendError as error:
            log.info("capacity of %s is not known: %s", name, error)
            free = None
        self._known[name] = (time.monotonic(), free)
        return free
