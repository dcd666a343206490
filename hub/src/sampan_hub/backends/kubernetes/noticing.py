"""What Kubernetes noted of pods that wait: asked for only while some do, in one call for all, every few seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from sampan_hub.backends.base import BackendError, Phase
from sampan_hub.backends.kubernetes.client import Json, KubeClient
from sampan_hub.backends.kubernetes.sighting import Sighting
from sampan_hub.backends.kubernetes.waiting import needs_events

log = logging.getLogger(__name__)

GAP_S = 3.0
"""Between two calls; also how long a pod waits before its notes are looked at."""
LIMIT_S = 2.0
"""How long a look waits for explanations."""
AT_MOST = "1000"
FEW = 3
"""Up to so many pods are asked for one by one: of a pod that fetches its image not only the warnings tell."""


class Notices:
    """Remembers what was noted, by the pod's uid."""

    def __init__(self, client: KubeClient, namespace: str, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/events"
        self._clock_s = clock_s
        self._waiting_since_s: dict[str, float] = {}
        self._asked_at_s = -float("inf")
        self._events: Mapping[str, Sequence[Json]] = {}

    async def of(self, sightings: Iterable[Sighting]) -> Mapping[str, Sequence[Json]]:
        """By uid. Notes explain and decide nothing: where they cannot be had, there are none."""
        now_s = self._clock_s()
        waiting = [each for each in sightings if each.phase is Phase.QUEUED and needs_events(each.pod)]
        self._waiting_since_s = {each.uid: self._waiting_since_s.get(each.uid, now_s) for each in waiting}
        late = [uid for uid, since_s in self._waiting_since_s.items() if now_s - since_s >= GAP_S]
        if not late:
            self._events = {}
        elif now_s - self._asked_at_s >= GAP_S:
            self._asked_at_s = now_s
            try:
                async with asyncio.timeout(LIMIT_S):
                    self._events = await self._ask(late)
            except (BackendError, TimeoutError) as error:
                log.info("events cannot be read: %s", error or "no answer in time")
                self._events = {}
        return self._events

    async def _ask(self, uids: Sequence[str]) -> Mapping[str, Sequence[Json]]:
        about = "involvedObject.kind=Pod"
        fields = (
            [f"{about},involvedObject.uid={uid}" for uid in uids] if len(uids) <= FEW else [f"{about},type=Warning"]
        )
        found: defaultdict[str, list[Json]] = defaultdict(list)
        for field in fields:
            listed = await self._client.get(self._path, fieldSelector=field, limit=AT_MOST)
            for event in listed.get("items") or ():
                found[str(event.get("involvedObject", {}).get("uid"))].append(event)
        return found
