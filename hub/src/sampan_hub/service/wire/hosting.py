"""How a cluster is asked for, and its host with it where that is a job of its own."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sampan_hub.service.wire.base import Answer, Key, Name, Request
from sampan_hub.service.wire.clusters import ClusterView
from sampan_hub.service.wire.jobs import JobItem, JobView, SubmitAnswer


class HostBase(Request):
    """What a host that is a job needs. It and the first workers are asked for together, so they start side by side.

    Where hosts run beside their notebooks nothing becomes of it.
    """

    batch: Key
    """The caller's idempotency key."""
    environment: str | None = None
    interpreter: str | None = None
    folder: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    """Of host and workers alike: by these they know each other."""
    expect: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    """Handed to the host with its claim, as they are. No secrets."""
    workers: list[JobItem] = Field(default_factory=list, max_length=10_000)
    """The first ones. If there are any and none is accepted, there is no cluster."""


class ClusterRequest(Request):
    """POST /clusters with a notebook's credential: make (or, same name and parent, find) a cluster row."""

    name: Name
    project: str | None = None
    size: str | None = None
    backend: str | None = None
    idle_timeout_s: int = Field(default=1200, ge=0, le=31_622_400)
    host: HostBase | None = None
    """What to start its host with, should that be a job. Without it the host runs beside the caller."""


class ClusterAnswer(Answer):
    cluster: ClusterView
    credential: str
    """`<cluster id>.scheduler.<mac>`, the host's own: submit and see this cluster's workers, renew its lease."""
    network: str | None = None
    """The network (CIDR) in which the scheduler listens for its workers; None: where its notebook listens."""
    ports: tuple[int, int] | None = None
    """The first and last port for it; None: any."""
    host: JobView | None = None
    """The job that is its host. None: the caller starts one beside itself."""
    notice: str | None = None
    """What its maker should know of workers there, to be told once."""
    workers: SubmitAnswer | None = None
    """What became of `host.workers`; None where there were none, or the cluster had its host already."""
