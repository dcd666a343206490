"""Keeps one process running: takes it over or starts it, sees it get ready, starts it again when it ends."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sampan_hub.cli.supervise.backoff import End, decide_restart
from sampan_hub.cli.supervise.commands import Command, make_environment, orders_of
from sampan_hub.cli.supervise.http import NotAnswering, call
from sampan_hub.cli.supervise.logs import read_tail
from sampan_hub.cli.supervise.processes import Process, find_running, start
from sampan_hub.cli.supervise.site import Site

READY_POLL_S = 0.1
REFUSED_PAUSE_S = 0.2
REPLACE_PATIENCE_S = 10.0

Say = Callable[[str], None]
OnReady = Callable[[str], Awaitable[None]]


class Keeper:
    """One of the three processes. `ready` is set while it answers; `on_ready` is awaited each time it begins to."""

    def __init__(self, site: Site, command: Command, say: Say, on_ready: OnReady) -> None:
        self._site = site
        self._command = command
        self._say = say
        self._on_ready = on_ready
        self._orders = orders_of(command, site.read_settings_text())
        self._ends: list[End] = []
        self._loop_said = False
        self.process: Process | None = None
        self.ready = asyncio.Event()

    @property
    def name(self) -> str:
        return self._command.name

    @property
    def log(self) -> Path:
        return self._site.paths.log / f"{self.name}.log"

    async def keep(self) -> None:
        """Runs until cancelled; the process goes on then."""
        while True:
            process = self.process = await self._take_over_or_start()
            await self._watch(process)
            if process.was_refused:
                self.ready.clear()
                await asyncio.sleep(REFUSED_PAUSE_S)
            else:
                await self._recover(process)

    async def _watch(self, process: Process) -> None:
        """Returns when it has ended."""
        ended = asyncio.create_task(process.ended.wait())
        watch = asyncio.create_task(self._watch_ready(process))
        try:
            done, _ = await asyncio.wait([ended, watch], return_when=asyncio.FIRST_COMPLETED)
            if watch in done:
                watch.result()
            await ended
        finally:
            watch.cancel()
            ended.cancel()

    async def _take_over_or_start(self) -> Process:
        found = find_running(self._site.paths.run, self.name)
        if found is not None:
            process, orders = found
            if orders == self._orders:
                return process
            self._say(f"{self.name} works by earlier settings: replacing it")
            await process.stop(REPLACE_PATIENCE_S)
        environment = make_environment(os.environ, self._site, self._command)
        return start(self._site.paths, self.name, self._orders, self._command.argv, environment)

    async def _watch_ready(self, process: Process) -> None:
        while not await asyncio.to_thread(self._answers):  # noqa: ASYNC110 - another process, which cannot set events
            await asyncio.sleep(READY_POLL_S)
        self._loop_said = False
        self._say(f"{self.name} ready" + ("" if process.is_child else " (taken over)"))
        self.ready.set()
        await self._on_ready(self.name)

    def _answers(self) -> bool:
        command = self._command
        try:
            return call("GET", command.ready_port, command.ready_path, command.ready_headers, timeout_s=5).is_ok
        except NotAnswering:
            return False

    async def _recover(self, process: Process) -> None:
        was_ready = self.ready.is_set()
        self.ready.clear()
        now_s = time.monotonic()
        self._ends.append(End(now_s, was_ready))
        restart = decide_restart(self._ends, now_s)
        self._ends = self._ends[-20:]
        if not restart.is_crash_loop:
            self._say(f"{self.name} ended ({process.describe_end()}): starting it again")
        elif not self._loop_said:
            self._loop_said = True
            tail = "\n".join(f"    {line}" for line in read_tail(self.log, 8))
            self._say(
                f"{self.name} keeps ending ({process.describe_end()}) before it is ready; "
                f"it is tried again, ever more slowly. The last lines of {self.log}:\n{tail}"
            )
        await asyncio.sleep(restart.delay_s)
