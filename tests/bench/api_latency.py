"""The service's answers: a person's questions while 200 notebooks start, and listing over a long history."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sampan_hub.jobs.model import State
from sampan_hub.jobs.store import Store
from sampan_hub.jobs.store.writing import insert_jobs
from sampan_hub.settings.keyfiles import read_key
from tests.bench.mocks import API, MockSite, Player, playing_site
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.scaling import begin_notebook
from tests.system.hub_fixtures import ROOT, until
from tests.unit.stores import make_draft, submit_one

MEASURE = "service API"
STARTS, PAST_JOBS, LISTINGS = 200, int(os.environ.get("BENCH_PAST_JOBS", "100000")), 200
SPAN = timedelta(days=30)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


async def measure(folder: Path, repeat: int) -> Row:
    """A fresh service for the bursts, one with a history for the listings."""
    recorder = Recorder()
    for number in range(repeat):
        async with playing_site(folder / f"burst{number}", "service") as (site, player):
            recorder.add("burst", percentile(await burst(site, player), 0.99) * 1000)
    async with playing_site(folder / "history", "service") as (site, player):
        await begin_notebook(site, player, "ana")
        await asyncio.to_thread(site.stop)
        await asyncio.to_thread(add_history, site)
        await asyncio.to_thread(site.start, "service")
        for _ in range(repeat):
            took_s = await ask_many(site, f"{API}/jobs", LISTINGS)
            recorder.add("listing", percentile(took_s, 0.99) * 1000)
    listing = f"{MEASURE}: p99 of listing with {PAST_JOBS:,} past jobs"
    return Row(
        "api_latency",
        [
            Line(f"{MEASURE}: p99 while {STARTS} start", "ms", recorder.sample("burst"), aim=Aim(100)),
            Line(listing, "ms", recorder.sample("listing"), aim=Aim(50)),
        ],
    )


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def burst(site: MockSite, player: Player) -> list[float]:
    """Seconds of every answer that a person got while all the others started."""
    await begin_notebook(site, player, "ana")
    async with asker(site, f"{API}/jobs?owner=ana") as answers:
        hub = site.credential("hub", "hub")
        requests = [
            {"batch": uuid.uuid4().hex, "base": {"kind": "notebook", "owner": f"user{number}"}, "items": [{"name": ""}]}
            for number in range(STARTS)
        ]
        await asyncio.gather(*(player.ask("POST", "/jobs", hub, request) for request in requests))

        async def all_have_started() -> bool:
            return len(player.credentials) > STARTS

        await until(all_have_started, f"{STARTS} mock notebooks run", timeout_s=60)
    return answers


@asynccontextmanager
async def asker(site: MockSite, path: str, *count: str) -> AsyncIterator[list[float]]:
    """Asks the service meanwhile, from a process of its own; the list is filled at the end."""
    address = site.service_url.removeprefix("http://")
    async with asking(address, path, site.credential("hub", "hub"), *count) as answers:
        yield answers


@asynccontextmanager
async def asking(
    address: str, path: str, credential: str, *count: str, authority: Path | None = None
) -> AsyncIterator[list[float]]:
    """Asks any server; see `tests.bench.asker`."""
    answers: list[float] = []
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.asker",
        address,
        path,
        *count,
        cwd=ROOT,
        env={**os.environ, "BENCH_CREDENTIAL": credential, "BENCH_CA": str(authority or "")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield answers
    finally:
        printed, _ = await process.communicate(b"")  # its end tells it to stop
    assert process.returncode == 0, f"the asker of {path} ended with {process.returncode}"
    answers += json.loads(printed)


async def ask_many(site: MockSite, path: str, count: int) -> list[float]:
    async with asker(site, path, str(count)) as answers:
        pass
    return answers


def add_history(site: MockSite) -> None:
    """Jobs that ended over the last month, put straight into the stopped service's database."""
    store = Store(f"sqlite:///{site.paths.sampan_sqlite}", secrets_key=read_key(site.paths.key("secrets.key")))
    instance = (site.paths.root / "instance").read_text().strip()
    now = datetime.now(UTC)
    template = submit_one(store, make_draft(), now)
    try:
        for start in range(0, PAST_JOBS, 5000):
            ends = [now - SPAN * (number + 1) / PAST_JOBS for number in range(start, min(start + 5000, PAST_JOBS))]
            past = [
                replace(
                    template,
                    id=f"{instance}.{_id_of(start + offset)}",
                    index=start + offset + 1,
                    owner=f"user{(start + offset) % 200:03}",
                    state=State.ENDED,
                    created_at=end - timedelta(hours=1),
                    ended_at=end,
                )
                for offset, end in enumerate(ends)
            ]
            with store._database.write() as tx:
                insert_jobs(tx, past, by="bench", now=now)
    finally:
        store.close()


def _id_of(number: int) -> str:
    digits = ""
    while len(digits) < 16:
        number, digit = divmod(number, 32)
        digits = ALPHABET[digit] + digits
    return digits
