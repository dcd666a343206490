"""The plan: every decision, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sampan_hub.jobs.plan.actions import Action
from sampan_hub.jobs.plan.world import Rules, World


def plan(world: World, now: datetime, rules: Rules) -> Sequence[Action]:
    """What to record and what to ask of the backends now. Applied and planned again it comes to rest."""
    return []
