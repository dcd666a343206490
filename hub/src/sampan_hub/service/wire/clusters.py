"""Messages about clusters: made by notebooks, reported on by their hosts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sampan_hub.service.wire.base import Answer, Name, ReasonView, Request


class ClusterRequest(Request):
    """POST /clusters with a notebook's credential: make (or, same name and parent, find) a cluster row."""

    name: Name
    project: str | None = None
    size: str | None = None
    backend: str | None = None
    idle_timeout_s: int = Field(default=1200, ge=0, le=31_622_400)


class ClusterReport(Request):
    """PUT /clusters/{id} by its host: what workers and people need to know. Secrets stay out."""

    scheduler: Annotated[str, StringConstraints(max_length=500)] | None = None
    dashboard: Annotated[str, StringConstraints(max_length=500)] | None = None
    state: Literal["starting", "running", "closing"] | None = None
    busy: bool | None = None
    look: bool = False
    """A worker is gone that nobody let go: list the cluster's backend now, not at its next round."""


class ClusterView(Answer):
    id: str
    name: str
    owner: str
    project: str
    parent: str | None
    state: Literal["starting", "running", "closing", "ended"]
    reason: ReasonView | None
    scheduler: str | None
    dashboard: str | None
    created_at: datetime
    lease_until: datetime | None
    ended_at: datetime | None
    idle_timeout_s: int
    revision: int


class ClusterAnswer(Answer):
    cluster: ClusterView
    credential: str
    """`<cluster id>.scheduler.<mac>`, the host's own: submit and see this cluster's workers, renew its lease."""
    network: str | None = None
    """The network (CIDR) in which the scheduler listens for its workers; None: where its notebook listens."""
    ports: tuple[int, int] | None = None
    """The first and last port for it; None: any."""


class ClustersAnswer(Answer):
    """GET /clusters: open ones, and those that ended in the last hour; oldest first."""

    clusters: list[ClusterView]
