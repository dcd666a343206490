"""`sampan up` from the first process to the last: pure asyncio around three keepers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from enum import Enum

from sampan_hub.cli.supervise.commands import Command
from sampan_hub.cli.supervise.http import NotAnswering, call
from sampan_hub.cli.supervise.keeper import Keeper, Say
from sampan_hub.cli.supervise.logs import cap_log
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.site import Site

LOG_CHECK_S = 60.0
STOP_PATIENCE_S = 8.0
ROUTES_TRIES = 20


class Ending(Enum):
    """Why `sampan up` ends."""

    ASKED = "asked"
    """Ctrl-C, TERM or a closed terminal: on a laptop the jobs end too."""
    PROCESSES_ONLY = "processes-only"
    """`sampan down`: jobs run on."""


SIGNALS = {
    signal.SIGINT: Ending.ASKED,
    signal.SIGTERM: Ending.ASKED,
    signal.SIGHUP: Ending.ASKED,
    signal.SIGUSR1: Ending.PROCESSES_ONLY,
}
"""SIGUSR1 is `sampan down`'s."""


class Supervisor:
    """Runs the commands until a signal, then ends them; `stop_jobs` is what a laptop does first."""

    def __init__(self, site: Site, ports: Ports, commands: list[Command], say: Say) -> None:
        self._site = site
        self._ports = ports
        self._say = say
        self._keepers = {command.name: Keeper(site, command, say, self._on_ready) for command in commands}
        self._asked: asyncio.Queue[Ending] = asyncio.Queue()
        self._routed = asyncio.Event()

    async def run(self, announce: Callable[[], None], stop_jobs: Callable[[Callable[[], bool]], None]) -> int:
        """Serves; the exit code. A second request to end, at any moment, ends at once."""
        loop = asyncio.get_running_loop()
        for number, ending in SIGNALS.items():
            loop.add_signal_handler(number, self._asked.put_nowait, ending)
        keeping = [asyncio.create_task(keeper.keep()) for keeper in self._keepers.values()]
        chores = [asyncio.create_task(self._announce(announce)), asyncio.create_task(self._cap_logs())]
        asked = asyncio.create_task(self._asked.get())
        done, _ = await asyncio.wait([asked, *keeping, *chores[1:]], return_when=asyncio.FIRST_COMPLETED)
        chores[0].cancel()
        if asked not in done:
            for task in done:
                task.result()
        again = asyncio.create_task(self._asked.get())
        if asked.result() is Ending.ASKED and self._site.is_laptop:
            stopping = asyncio.create_task(asyncio.to_thread(stop_jobs, again.done))
            await asyncio.wait([stopping, again], return_when=asyncio.FIRST_COMPLETED)
        for task in (*keeping, *chores):
            task.cancel()
        patience_s = 0.0 if again.done() else STOP_PATIENCE_S
        ending_all = asyncio.create_task(self._end_processes(patience_s))
        await asyncio.wait([ending_all, again], return_when=asyncio.FIRST_COMPLETED)
        if not ending_all.done():
            await self._end_processes(0.0)
        return 130 if again.done() else 0

    async def _end_processes(self, patience_s: float) -> None:
        running = [keeper.process for keeper in self._keepers.values() if keeper.process is not None]
        await asyncio.gather(*(process.stop(patience_s) for process in running))

    async def _announce(self, announce: Callable[[], None]) -> None:
        for keeper in self._keepers.values():
            await keeper.ready.wait()
        await self._routed.wait()  # a link opened before the proxy knows the hub would lead nowhere
        await asyncio.to_thread(announce)

    async def _cap_logs(self) -> None:
        while True:
            for keeper in self._keepers.values():
                await asyncio.to_thread(cap_log, keeper.log)
            await asyncio.sleep(LOG_CHECK_S)

    async def _on_ready(self, name: str) -> None:
        if name == "proxy":
            self._routed.clear()
            await self._restore_routes()
            self._routed.set()

    async def _restore_routes(self) -> None:
        """A new proxy knows no routes: the hub puts them back at once rather than at its next round."""
        await self._keepers["hub"].ready.wait()
        for attempt in range(ROUTES_TRIES):
            if await asyncio.to_thread(self._ask_for_routes):
                return
            await asyncio.sleep(min(2.0, 0.1 * 2**attempt))
        self._say("the hub did not put the proxy's routes back: pages may be missing until it does so by itself")

    def _ask_for_routes(self) -> bool:
        path = f"{self._site.base_path}hub/api/proxy"
        try:
            return call("POST", self._ports.hub, path, self._site.hub_headers()).is_ok
        except NotAnswering:
            return False
