"""Every pod of ours, kept up to date by one list and one watch: looking at them costs no request.

The watch is a stream of changes since a version. It breaks (and is taken up where it broke), and the server forgets
old versions (then everything is listed anew). Answers to other calls are taken in, too, and may come in any order, so
versions decide which is newer, and what was deleted is remembered: a late answer does not bring it back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.kubernetes.client import ApiRefused, ApiUnreachable, Json, KubeClient

log = logging.getLogger(__name__)

WATCH_S = 240
"""How long one watch is asked for; it is followed by the next."""
SILENCE_S = 90.0
"""A watch says at least once a minute that it is alive."""
PAGE = 500
LIST_GAP_S = 1.0
"""While no watch is open: how long a full listing is taken for the present."""
PAUSE_AT_LEAST_S = 0.2
PAUSE_AT_MOST_S = 5.0
_GONE = 410
_KEPT_OF_CONTAINERS = ("name", "image", "resources")
_TOMBSTONES = 20_000


class Pods:
    """The pods of a namespace with one label, by name. `note` and `look` may be called at any time."""

    def __init__(
        self, client: KubeClient, path: str, selector: str, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._path = path
        self._selector = selector
        self._clock_s = clock_s
        self._pods: dict[str, Json] = {}
        self._gone: list[Json] = []
        self._tombstones: dict[str, None] = {}
        self._version: str | None = None
        self._is_following = False
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._listed_at_s = -float("inf")
        self.listed_at: datetime | None = None
        """When the last full listing that succeeded was begun."""
        self.lists = 0
        """How many full listings were asked for."""
        self.on_change: Callable[[], None] = lambda: None

    @property
    def by_name(self) -> Mapping[str, Json]:
        return self._pods

    @property
    def is_following(self) -> bool:
        """Whether a watch is open that began where the last one, or a listing, ended."""
        return self._is_following

    def gone(self) -> list[Json]:
        """The pods that were deleted and not yet forgotten, as they last were."""
        return list(self._gone)

    def forget_gone(self, pods: list[Json]) -> None:
        """These deletions are known for good."""
        known = {_uid(pod) for pod in pods}
        self._gone = [pod for pod in self._gone if _uid(pod) not in known]

    def start(self) -> None:
        """Follow, from now on. Idempotent; on the event loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow_for_ever(), name="kubernetes watch")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def ensure_current(self, fresh_s: float) -> None:
        """Raise ApiUnreachable unless what is known here is what the server knows, give or take `fresh_s`."""
        if not self._is_following:
            if self._clock_s() - self._listed_at_s >= min(fresh_s, LIST_GAP_S):
                await self.look()
        elif self._clock_s() - self._client.answered_at_s > fresh_s:
            await self._client.get(self._path, labelSelector=self._selector, limit="1", resourceVersion="0")

    async def look(self) -> None:
        """List everything. What this shows was there at some moment after the call."""
        begun_at = datetime.now(UTC)
        async with self._looking:
            if self._version is not None and self.listed_at is not None and self.listed_at >= begun_at:
                return  # somebody else has just done it
            begun_at = datetime.now(UTC)
            begun_at_s = self._clock_s()
            pods, version = await self._list()
            self._take(pods, version)
            self.listed_at, self._listed_at_s = begun_at, begun_at_s

    async def _list(self) -> tuple[list[Json], str]:
        pods: list[Json] = []
        more: dict[str, str] = {}
        self.lists += 1
        while True:
            page = await self._client.get(self._path, labelSelector=self._selector, limit=str(PAGE), **more)
            try:
                pods += page["items"]
                version, left = page["metadata"]["resourceVersion"], page["metadata"].get("continue")
            except (KeyError, TypeError) as error:
                raise ApiUnreachable("the API server's list is none; nothing is concluded from it") from error
            if not left:
                return pods, version
            more = {"continue": left}

    def _take(self, pods: list[Json], version: str) -> None:
        shown = {_uid(pod) for pod in pods}
        before = dict(self._pods)
        for pod in [pod for pod in self._pods.values() if _uid(pod) not in shown]:
            if not is_newer(_version(pod), version):
                self._remove(pod)
        for pod in pods:
            self.note(pod)
        if self._version is None or is_newer(version, self._version):
            self._version = version
        if self._pods != before:
            self.on_change()

    def note(self, pod: Json) -> None:
        """Take in what the server said of one pod, unless something newer is known."""
        if _uid(pod) in self._tombstones:
            return
        name = pod["metadata"]["name"]
        known = self._pods.get(name)
        if known is not None:
            if not is_newer(_version(pod), _version(known)):
                return
            if _uid(known) != _uid(pod):
                self._remove(known)
        self._pods[name] = make_slim(pod)

    def _remove(self, pod: Json) -> None:
        self._tombstones[_uid(pod)] = None
        while len(self._tombstones) > _TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]
        known = self._pods.get(pod["metadata"]["name"])
        if known is not None and _uid(known) == _uid(pod):
            del self._pods[pod["metadata"]["name"]]
            self._gone.append(make_slim(pod))

    async def _follow_for_ever(self) -> None:
        pause_s = PAUSE_AT_LEAST_S
        while True:
            begun_s = self._clock_s()
            try:
                if self._version is None:
                    await self.look()
                await self._follow()
            except _Expired:
                self._version = None
            except BackendError as error:
                log.info("the watch of pods broke: %s", error)
            finally:
                self._is_following = False
            lasted = self._clock_s() - begun_s > PAUSE_AT_MOST_S
            pause_s = PAUSE_AT_LEAST_S if lasted else min(PAUSE_AT_MOST_S, pause_s * 2)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - so that many do not come at once

    async def _follow(self) -> None:
        query = {
            "watch": "1",
            "labelSelector": self._selector,
            "resourceVersion": self._version or "0",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
        }
        try:
            async with self._client.stream(self._path, SILENCE_S, **query) as events:
                self._is_following = True
                async for event in events:
                    self._apply(event)
        except ApiRefused as error:
            if error.status == _GONE:
                raise _Expired from error
            raise

    def _apply(self, event: Json) -> None:
        kind, pod = event.get("type"), event.get("object")
        if kind == "ERROR" and isinstance(pod, dict):
            if pod.get("code") == _GONE:
                raise _Expired
            raise ApiUnreachable(f"the watch ended: {pod.get('message')}")
        if not isinstance(pod, dict) or "metadata" not in pod:
            raise ApiUnreachable("the watch said something that is no event")
        if kind == "DELETED":
            self._remove(pod)
        elif kind in ("ADDED", "MODIFIED"):
            self.note(pod)
        self._version = _version(pod)
        if kind != "BOOKMARK":
            self.on_change()


class _Expired(Exception):
    """The server has forgotten the version from which changes were asked for."""


def make_slim(pod: Json) -> Json:
    """What is needed of a pod that is there: thousands are kept, and most of each says what we have asked for."""
    metadata = {name: value for name, value in pod["metadata"].items() if name != "managedFields"}
    spec = pod.get("spec") or {}
    containers = [{name: each.get(name) for name in _KEPT_OF_CONTAINERS} for each in spec.get("containers") or ()]
    kept = {"nodeName": spec.get("nodeName"), "containers": containers}
    return {"metadata": metadata, "spec": kept, "status": pod.get("status") or {}}


def _uid(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"].get("uid", ""))


def _version(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"].get("resourceVersion", ""))


def is_newer(version: str, other: str) -> bool:
    """Whether this version of an object came after the other: they are ever larger numbers."""
    return int(version) > int(other) if version.isdecimal() and other.isdecimal() else version != other
