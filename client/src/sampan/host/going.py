"""The workers of one cluster that go: replaced where their time is nearly over, let go without repeating a task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from sampan.host import draining

if TYPE_CHECKING:
    from sampan.host.cluster import HostCluster

log = logging.getLogger("sampan.host")

DRAIN_S = 60.0
"""How long a worker that is not wanted any more may finish the tasks it has begun."""


class Going:
    """Whoever goes is not among the planned workers of the cluster; where one is wanted, another is asked for."""

    def __init__(self, cluster: HostCluster) -> None:
        self._cluster = cluster
        self.leaving: set[str] = set()
        """They work on until others are there."""
        self.draining: set[str] = set()
        """They begin nothing more."""

    @property
    def names(self) -> set[str]:
        return self.leaving | self.draining

    def count(self, size: str) -> int:
        """How many of this size go and have not gone."""
        return sum(self._cluster.size_of(name) == size for name in self.names & set(self._cluster.worker_spec))

    def replace(self, names: Collection[str]) -> None:
        """Ask for others in place of these, which work on meanwhile. Returns at once."""
        self.leaving.update(names)
        for name in names:  # what was refused before may be possible now
            self._cluster.caps.pop(self._cluster.size_of(name), None)
        self._cluster.spawn(self._cluster.settle())

    def keep_leaving(self, names: Iterable[str]) -> None:
        """Only these still have an end: the others count as planned again."""
        if not self.leaving <= set(names):
            self.leaving &= set(names)
            self._cluster.spawn(self._cluster.settle())

    def is_covered(self, name: str) -> bool:
        """Whether one that is leaving may go: others are there in its place, or can come only when it is gone."""
        cluster = self._cluster
        size = cluster.size_of(name)
        there = (set(cluster.worker_spec) - self.draining - {name}) & cluster.observed
        others = sum(cluster.size_of(other) == size for other in there)
        return others >= cluster.wanted[size] - (size in cluster.caps)

    def let_go(self, names: Collection[str], until_s: float | None = None) -> None:
        """Have these end; by `until_s` (since the epoch) where their time is limited. Returns at once."""
        self.leaving.difference_update(names)
        self.draining.update(names)
        self._cluster.spawn(self._let_go(list(names), until_s))

    async def _let_go(self, names: list[str], until_s: float | None) -> None:
        scheduler, now_s = self._cluster.scheduler, time.time()
        try:
            await asyncio.gather(*(draining.drain(scheduler, name, until_s or now_s + DRAIN_S) for name in names))
            await draining.retire(scheduler, names, until_s or now_s)
        except OSError as error:
            log.warning("A connection was lost while %s went: %s", ", ".join(names), error)
        except Exception:  # whatever Dask trips over, nobody stays half gone: what they did not end is run again
            log.exception("%s could not be let go in order", ", ".join(names))
        try:
            await self._cluster.remove(names)
        finally:
            self.draining.difference_update(names)
