"""What to do next, decided from plain data. Pure: no clock, no database, no backend."""

from __future__ import annotations

from sampan_hub.jobs.plan.actions import (
    Action,
    Adopt,
    Cancel,
    EndCluster,
    Forget,
    Record,
    Report,
    Submit,
)
from sampan_hub.jobs.plan.decide import plan
from sampan_hub.jobs.plan.world import BackendView, CancelSent, Recorded, Rules, World

__all__ = [
    "Action",
    "Adopt",
    "BackendView",
    "Cancel",
    "CancelSent",
    "EndCluster",
    "Forget",
    "Record",
    "Recorded",
    "Report",
    "Rules",
    "Submit",
    "World",
    "plan",
]
