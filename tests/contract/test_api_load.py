"""While many start at once the service stays quick, and every one of them starts once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.contract.api_site import ApiSite, running_site

MANY = 200
SLOWEST_S = 0.5
"""For 99 of 100 small questions meanwhile, or a tenth of the whole burst where the machine is slow: nobody who only
asks waits until those who start are through."""


async def test_two_hundred_notebooks_start_while_others_ask(tmp_path: Path) -> None:
    async with running_site(tmp_path / "state") as site:
        over = asyncio.Event()
        asking = asyncio.create_task(_ask_until(site, over))
        owners = [None, *(f"user{number:03}" for number in range(10))]
        followers = [asyncio.create_task(_follow(site, over, owner)) for owner in owners]
        begun_s = time.monotonic()
        jobs = await asyncio.gather(*(_start(site, f"user{number:03}") for number in range(MANY)))
        burst_s = time.monotonic() - begun_s
        over.set()
        took_s = sorted(await asking)
        await asyncio.gather(*followers)
        assert len(took_s) >= 5
        assert took_s[int(len(took_s) * 0.99)] < max(SLOWEST_S, burst_s / 10), (burst_s, took_s[-5:])
        shown = (await site.call("GET", "/jobs", site.hub, kind="notebook")).body["jobs"]
        assert {(job["state"], job["address"] is not None) for job in shown} == {("running", True)}
        assert set(site.backend.runs_begun) == {job["id"] for job in shown} == set(jobs)
        assert set(site.backend.runs_begun.values()) == {1}


async def _start(site: ApiSite, owner: str) -> str:
    job = await site.start_notebook(owner)
    claim = await site.claim(job)
    assert claim.status == 200, claim.body
    site.backend.listeners.add((job["id"], "127.0.0.1", 45678))
    address = {"address": {"host": "127.0.0.1", "port": 45678}}
    report = await site.call("POST", f"/jobs/{job['id']}/report", claim.body["credential"], address)
    assert report.status == 200, report.body
    return str(job["id"])


async def _ask_until(site: ApiSite, over: asyncio.Event) -> list[float]:
    took_s = []
    while not over.is_set():
        reply = await site.call("GET", "/offers", "token-of-ana")
        assert reply.status == 200
        took_s.append(reply.took_s)
    return took_s


async def _follow(site: ApiSite, over: asyncio.Event, owner: str | None) -> None:
    """The hub's long poll (everybody), or one person's."""
    revision = 0
    selection = {} if owner is None else {"owner": owner}
    while not over.is_set():
        reply = await site.call("GET", "/jobs", site.hub, kind="notebook", revision=revision, wait=1, **selection)
        assert reply.body["revision"] >= revision
        revision = reply.body["revision"]
