"""What every route works with: the parts of one running service, and how they are reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import ParamSpec, TypeVar, cast

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Request

from sampan_hub.backends.base import Backend
from sampan_hub.jobs.drafts import NoSuchCluster, NoSuchJob
from sampan_hub.jobs.model import Cluster, Job
from sampan_hub.jobs.reconcile import Reconciler
from sampan_hub.jobs.spec import Place
from sampan_hub.jobs.store import Store
from sampan_hub.service.auth import Authenticator
from sampan_hub.service.capacities import Capacities
from sampan_hub.service.hubusers import HubUsers
from sampan_hub.service.metrics import Metrics
from sampan_hub.service.revisions import Revisions
from sampan_hub.service.tokens import PodTokens
from sampan_hub.settings.model import Settings
from sampan_hub.trust.front import Front

P = ParamSpec("P")
T = TypeVar("T")

READERS = 6
WRITERS = 2
"""Writers take turns in the store anyway; a crowd of them must not keep readers waiting."""


def utc_now() -> datetime:
    """The wall clock; passed in wherever a decision depends on it."""
    return datetime.now(UTC)


class StoreCalls:
    """Runs store methods in worker threads, a few at a time: the event loop never waits for a disk."""

    def __init__(self, at_once: int) -> None:
        self._limiter = CapacityLimiter(at_once)

    async def __call__(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await anyio.to_thread.run_sync(partial(method, *args, **kwargs), limiter=self._limiter)


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys requests need; never shown."""

    service: bytes = field(repr=False)
    signing: bytes = field(repr=False)


@dataclass(slots=True)
class Context:
    """One running service."""

    settings: Settings
    instance: str
    keys: Keys
    store: Store
    backends: Mapping[str, Backend]
    places: Mapping[str, Place]
    """By backend."""
    pods: Mapping[str, PodTokens]
    """By backend whose jobs are pods: who recognises their tokens."""
    front: Front | None
    """Who issues certificates to notebooks on other machines; None where there are none."""
    reconciler: Reconciler
    hub_users: HubUsers
    own_ports: frozenset[int]
    """Ports of the proxy, the hub and this service: no job may claim to listen there."""
    reading: StoreCalls
    writing: StoreCalls
    """The lane of what always writes; `reading` is for the rest."""
    revisions: Revisions
    metrics: Metrics
    authenticator: Authenticator
    capacities: Capacities

    async def find_job(self, job_id: str) -> Job | None:
        """The job, or None."""
        return await find_job(self.reading, self.store, job_id)

    async def find_cluster(self, cluster_id: str) -> Cluster | None:
        """The cluster, or None."""
        return await find_cluster(self.reading, self.store, cluster_id)


async def find_job(reading: StoreCalls, store: Store, job_id: str) -> Job | None:
    """The job, or None."""
    try:
        return await reading(store.job, job_id)
    except NoSuchJob:
        return None


async def find_cluster(reading: StoreCalls, store: Store, cluster_id: str) -> Cluster | None:
    """The cluster, or None."""
    try:
        return await reading(store.cluster, cluster_id)
    except NoSuchCluster:
        return None


def context_of(request: Request) -> Context:
    """The service that answers this request."""
    return cast(Context, request.app.state.context)
