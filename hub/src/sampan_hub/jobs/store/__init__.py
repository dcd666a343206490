"""The one place that speaks SQL: wanted state, history, secrets waiting for their claim."""

from __future__ import annotations

from sampan_hub.jobs.store.store import Store

__all__ = ["Store"]
