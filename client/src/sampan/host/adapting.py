"""Workers that come and go with the tasks: Dask's Adaptive between bounds, the upper one perhaps the service's."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from distributed.deploy.adaptive import Adaptive

from sampan.errors import SampanError
from sampan.host.cluster import HostCluster
from sampan.host.decide import allowed_workers, count_holding, is_arriving

log = logging.getLogger("sampan.host")

INTERVAL_S = 0.25
TARGET = "1s"
GRACE_S = 10.0
ASK_AGAIN_S = 2.0


class GentleAdaptive(Adaptive):
    """Dask's, which would count and choose also those that go already, and cut off what runs on those it chooses."""

    async def workers_to_close(self, target: int) -> list[str]:
        cluster: HostCluster = self.cluster
        return cluster.choose_to_close(target)

    async def scale_down(self, workers: Any) -> None:
        await self.cluster.scale_down(workers)


class Adapting:
    """At most one Adaptive at a time. `bounds` is (minimum, maximum) while adapting, else None."""

    def __init__(self, cluster: HostCluster, size: str, ask_offers: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self.bounds: tuple[int, int] | None = None
        self._cluster = cluster
        self._size = size
        self._ask_offers = ask_offers
        self._adaptive: Adaptive | None = None
        self._follows = False
        self._asked_at_s = 0.0

    async def begin(self, minimum: int, maximum: int | None) -> None:
        """Adapt from now on. Without a maximum: to what one may have, whatever that becomes."""
        self.stop()
        self._follows = maximum is None
        self.bounds = minimum, await self._allowed(minimum) if maximum is None else maximum
        self._adaptive = self._cluster.adapt(
            Adaptive=GentleAdaptive,
            minimum=minimum,
            maximum=self.bounds[1],
            interval=INTERVAL_S,
            target_duration=TARGET,
            wait_count=round(GRACE_S / INTERVAL_S),
        )

    def stop(self) -> None:
        """The workers stay as they are."""
        if self._adaptive is not None:
            self._adaptive.stop(reason="another wish")
        self._adaptive, self.bounds, self._follows = None, None, False

    async def follow(self) -> None:
        """Something changed at the service: what one may have now is the new maximum, if none was given."""
        if self._adaptive is None or not self._follows or time.monotonic() - self._asked_at_s < ASK_AGAIN_S:
            return
        if is_arriving(self._cluster.last_jobs):  # what these take from the room may not be counted yet
            return
        minimum, before = self.bounds or (0, 0)
        try:
            maximum = await self._allowed(minimum)
        except SampanError as error:
            log.info("What one may have now is not known, %s workers at most stay: %s", before, error)
            return
        if self._adaptive is not None and self._follows and maximum != before:
            log.info("At most %s workers now, before %s", maximum, before)
            self._adaptive.maximum = maximum
            self.bounds = minimum, maximum

    async def _allowed(self, minimum: int) -> int:
        """What this cluster has got and what may come beside it; one at least, which may have to wait."""
        self._asked_at_s = time.monotonic()
        offers = await self._ask_offers()
        return max(minimum, 1, count_holding(self._cluster.last_jobs) + allowed_workers(offers, self._size))
