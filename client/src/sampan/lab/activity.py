"""Tell the service when people compute here. An open tab is no activity; a running cell or a used terminal is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tornado.ioloop import PeriodicCallback

from sampan._api import Session
from sampan.errors import SampanError

LOOK_INTERVAL_S = 2.0
REPEAT_S = 60.0
"""Work that goes on is told again this often; the service counts idleness from the last time."""
CALL_TIMEOUT_S = 10.0
RETRY_S = 15.0


@dataclass(frozen=True, slots=True)
class Told:
    """The last thing that the service took, and when (monotonic)."""

    busy: bool | None = None
    at_s: float = 0.0


def needs_telling(busy: bool, told: Told, now_s: float) -> bool:
    """Whether the service should hear `busy` now: at a change, and now and then while work goes on."""
    return busy != told.busy or (busy and now_s - told.at_s >= REPEAT_S)


def is_busy(states: Iterable[str], moments: Iterable[datetime], since: datetime) -> bool:
    """Whether a kernel executes, or a kernel or terminal was used after `since` (work shorter than one look)."""
    return "busy" in set(states) or any(moment > since for moment in moments)


class ActivityReporter:
    """Looks every two seconds; never blocks the server, and a service that is away only delays the news."""

    def __init__(self, server: Any, session: Session) -> None:
        self.server = server
        self.session = session
        self.told = Told()
        self.looked_at: datetime | None = None
        self.quiet_until_s = 0.0
        self.timer = PeriodicCallback(self.look, LOOK_INTERVAL_S * 1000)

    def start(self) -> None:
        self.timer.start()

    def used_moments(self) -> list[datetime]:
        """When each kernel and terminal was last used."""
        kernels = self.server.kernel_manager
        moments = [kernels.get_kernel(kernel).last_activity for kernel in kernels.list_kernel_ids()]
        terminals = self.server.web_app.settings.get("terminal_manager")
        if terminals is not None:
            moments += [terminal.last_activity for terminal in terminals.terminals.values()]
        return moments

    def is_busy(self) -> bool:
        """Whether anything was computed or typed since the last look (the first look: ever)."""
        kernels = self.server.kernel_manager
        states = [kernels.get_kernel(kernel).execution_state for kernel in kernels.list_kernel_ids()]
        moments = self.used_moments()
        since = self.looked_at or self.server.web_app.settings["started"]
        self.looked_at = max([since, *moments])
        return is_busy(states, moments, since)

    async def look(self) -> None:
        """One look, and a report if there is something to tell."""
        busy = self.is_busy()
        now_s = time.monotonic()
        if now_s < self.quiet_until_s or not needs_telling(busy, self.told, now_s):
            return
        try:
            await self._tell(busy)
        except SampanError as error:
            self.quiet_until_s = time.monotonic() + RETRY_S
            self.server.log.info("The compute service was not told that this notebook is busy=%s: %s", busy, error)

    async def keep(self) -> None:
        """Count as used now, because the person says so. The next look tells the service that this use is over.

        Raises SampanError where the service does not take it.
        """
        await self._tell(True)

    async def _tell(self, busy: bool) -> None:
        await self.session.connect().call_async(
            "POST", f"/jobs/{self.session.job}/report", {"busy": busy}, timeout_s=CALL_TIMEOUT_S
        )
        self.told = Told(busy, time.monotonic())
