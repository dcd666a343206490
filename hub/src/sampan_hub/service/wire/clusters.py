"""Messages about clusters: reported on by their hosts, seen by their owners."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints

from sampan_hub.service.wire.base import Answer, ReasonView, Request


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


class ClustersAnswer(Answer):
    """GET /clusters: open ones, and those that ended in the last hour; oldest first."""

    clusters: list[ClusterView]
