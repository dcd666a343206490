"""The loop that makes what runs follow what is wanted: observe each backend, plan, record, act."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sampan_hub.backends.base import Backend
from sampan_hub.jobs.spec import SpecRules
from sampan_hub.jobs.store import Store
from sampan_hub.settings.model import Settings


class Reconciler:
    """One observer per backend and one planner for all. Two of them on one store are safe.

    `last_good_listing_at[backend]` is None until the first success.
    """

    last_good_listing_at: dict[str, datetime | None]
    failures: dict[str, int]
    """Failed backend calls since the start, by backend."""

    def __init__(
        self, store: Store, backends: Mapping[str, Backend], settings: Settings, spec_rules: SpecRules
    ) -> None:
        """`spec_rules` has the keys and the service's URL (see `spec`)."""

    async def run(self) -> None:
        """Reconcile until cancelled; calls in flight are then given up (a later start settles them)."""

    def wake(self) -> None:
        """Look now. From any thread; store changes of this process do it by themselves."""
