"""A host's life as a process: what makes it begin, what makes it end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import dask

from sampan.host.host import Host
from sampan.host.scheduler import HTTP_ROUTES
from sampan.host.start import Registered
from sampan.pace import rest_when_idle


def watch_server(pid: int, ended: Any) -> None:
    """Call `ended` when the notebook server's process is gone. A pidfd: no polling, no confusion with a reused pid."""
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return
    loop = asyncio.get_running_loop()

    def readable() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended()

    loop.add_reader(descriptor, readable)


async def serve(folder: Path, made: Registered) -> None:
    """Run the host until somebody asks it to end, nobody needs it, or its notebook or cluster has ended."""
    rest_when_idle()
    dask.config.set({"distributed.scheduler.http.routes": HTTP_ROUTES})
    host = Host(folder, made)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.end, f"signal {number.name}", True)
    server = os.environ.get("SAMPAN_SERVER_PID", "")
    if server.isdecimal():
        watch_server(int(server), lambda: host.end("the notebook server has ended", session_over=True))
    sys.path.append(made.options.folder)  # graphs may hold things of the notebook's own modules
    try:
        await host.begin()
        async with asyncio.TaskGroup() as group:
            feed = group.create_task(host.follow_feed())
            group.create_task(host.watch())
            group.create_task(host.deadlines.follow(host.stop))
            await host.stop.wait()
            feed.cancel()
    finally:
        host.end("it failed, see the lines above")
        await host.finish()
