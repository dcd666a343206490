"""What hub, service and proxy take while nobody does anything, with 0, 50 and 200 servers that only pretend."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from tests.bench.hubs import hub_client
from tests.bench.mocks import MOCK_SPAWNER, answering_server, playing_site, start_all, user_names
from tests.bench.peers import plain_hub
from tests.bench.row import Aim, Line, Recorder, Row

MEASURE = "idle cost"
COUNTS = (0, 50, 200)
PEER = "JupyterHub"
WATCHED_S = float(os.environ.get("BENCH_IDLE_S", "10"))
MB = 1e6


async def measure(folder: Path, repeat: int) -> Row:
    """At each count, `repeat` looks of some seconds at both sides in the same moments."""
    recorder = Recorder()
    names = user_names(COUNTS[-1])
    async with AsyncExitStack() as stack:
        site, _ = await stack.enter_async_context(playing_site(folder / "ours", "proxy", "service", "hub"))
        port = await stack.enter_async_context(answering_server())
        plain = stack.enter_context(plain_hub(folder / "plain", MOCK_SPAWNER.format(port=port, limit=0)))
        hubs = [
            await stack.enter_async_context(hub_client(site.url, site.cli_token)),
            await stack.enter_async_context(hub_client(plain.url, plain.token)),
        ]
        for hub in hubs:
            await hub.add_users(names)
        assert plain.hub is not None
        pids = {name: site.pid(name) for name in ("service", "hub", "proxy")}
        pids |= {"peer hub": plain.hub.pid, "peer proxy": plain.proxy_pid}
        running = 0
        for count in COUNTS:
            for hub in hubs:
                await start_all(hub, names[running:count], 20)
            running = count
            await asyncio.sleep(WATCHED_S)
            for _ in range(repeat):
                await look(recorder, count, pids)
    return Row("idle_cost", _lines(recorder))


async def look(recorder: Recorder, count: int, pids: Mapping[str, int]) -> None:
    """Memory now, and processor time over some seconds, in per cent of one core."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    await asyncio.sleep(WATCHED_S)
    cpu = {name: (sum(process.cpu_times()[:2]) - before[name]) / WATCHED_S * 100 for name, process in processes.items()}
    rss = {name: process.memory_info().rss / MB for name, process in processes.items()}
    recorder.add(f"service {count} rss", rss["service"])
    for side, names in (("sampan", ("service", "hub", "proxy")), (PEER, ("peer hub", "peer proxy"))):
        recorder.add(f"{side}: {count} rss", sum(rss[name] for name in names))
        recorder.add(f"{side}: {count} cpu", sum(cpu[name] for name in names))


def _lines(recorder: Recorder) -> list[Line]:
    lines = [
        Line(f"{MEASURE}, {count} servers: memory of the service", "MB", recorder.sample(f"service {count} rss"),
             aim=Aim(120 + 0.2 * count))
        for count in COUNTS
    ]  # fmt: skip
    first, last = (recorder.sample(f"sampan: {count} rss") for count in (COUNTS[0], COUNTS[-1]))
    peer_first, peer_last = (recorder.sample(f"{PEER}: {count} rss") for count in (COUNTS[0], COUNTS[-1]))
    if first and last and peer_first and peer_last:
        growth = Recorder()
        growth.add("sampan", (last.median - first.median) / COUNTS[-1])
        growth.add(PEER, (peer_last.median - peer_first.median) / COUNTS[-1])
        name = f"{MEASURE}: memory per server, all processes"
        lines.append(Line(name, "MB", growth.sample("sampan"), growth.sample(PEER), Aim(0.2)))
    for count in COUNTS:
        for words, unit, kind in (("memory", "MB", "rss"), ("processor", "% of a core", "cpu")):
            name = f"{MEASURE}, {count} servers: {words} of all processes"
            ours, peer = recorder.sample(f"sampan: {count} {kind}"), recorder.sample(f"{PEER}: {count} {kind}")
            lines.append(Line(name, unit, ours, peer))
    return lines
