"""`scale(400)` on the fake backend: one request; until its answer, and until all are on record as sent."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import psutil

from tests.bench.mocks import MockSite, Player, playing_site
from tests.bench.row import Aim, Line, Recorder, Row
from tests.system.hub_fixtures import until

MEASURE = "scale(400)"
COUNT = 400
UNSENT = {"accepted", "submitting"}


async def measure(folder: Path, repeat: int) -> Row:
    """One notebook with one cluster; its workers are asked for and stopped again."""
    recorder = Recorder()
    async with playing_site(folder / "site", "service") as (site, player):
        notebook = await begin_notebook(site, player, "ana")
        service = psutil.Process(site.pid("service"))
        for number in range(repeat + 1):
            cluster = await player.ask("POST", "/clusters", notebook, {"name": f"calc{number}"})
            worked_before_s = sum(service.cpu_times()[:2])
            answered_s, sent_s, ids = await scale(player, cluster["cluster"]["id"], cluster["credential"])
            worked_s = sum(service.cpu_times()[:2]) - worked_before_s
            if number:
                recorder.add("answered", answered_s)
                recorder.add("sent", sent_s)
                recorder.add("worked", worked_s)
            await stop(player, cluster["cluster"]["id"], cluster["credential"], ids)
    return Row(
        "scaling",
        [
            Line(f"{MEASURE}: one request, answered", "s", recorder.sample("answered"), aim=Aim(0.5)),
            Line(f"{MEASURE}: planned, sent and recorded", "s", recorder.sample("sent"), aim=Aim(0.5)),
            Line(f"{MEASURE}: processor time of the service", "s", recorder.sample("worked"), aim=Aim(0.5)),
        ],
    )


async def begin_notebook(site: MockSite, player: Player, owner: str) -> str:
    """A running mock notebook; its credential."""
    request = {
        "batch": uuid.uuid4().hex,
        "base": {"kind": "notebook", "owner": owner},
        "items": [{"name": ""}],
    }
    answer = await player.ask("POST", "/jobs", site.credential("hub", "hub"), request)
    job_id = answer["items"][0]["job"]["id"]

    async def credential() -> str | None:
        return player.credentials.get(job_id)

    return str(await until(credential, "the mock notebook has claimed and reported"))


async def scale(player: Player, cluster: str, credential: str) -> tuple[float, float, list[str]]:
    """Seconds until the answer, and until no worker waits to be sent; the workers' ids."""
    request = {
        "batch": uuid.uuid4().hex,
        "base": {"kind": "worker", "cluster": cluster},
        "items": [{"name": f"w{number}"} for number in range(COUNT)],
    }
    begun_s = time.monotonic()
    answer = await player.ask("POST", "/jobs", credential, request)
    answered_s = time.monotonic() - begun_s
    ids = [item["job"]["id"] for item in answer["items"]]
    assert len(ids) == COUNT
    jobs = await _workers(player, cluster, credential)
    while any(job["state"] in UNSENT for job in jobs["jobs"] if job["id"] in ids):
        jobs = await _workers(player, cluster, credential, revision=jobs["revision"])
    return answered_s, time.monotonic() - begun_s, ids


async def stop(player: Player, cluster: str, credential: str, ids: list[str]) -> None:
    """The workers are gone."""
    await player.ask("POST", "/jobs/stop", credential, {"ids": ids})

    async def have_ended() -> bool:
        shown = await _workers(player, cluster, credential)
        return all(job["state"] == "ended" for job in shown["jobs"] if job["id"] in ids)

    await until(have_ended, "the workers end", timeout_s=60)


async def _workers(player: Player, cluster: str, credential: str, revision: int = -1) -> dict[str, Any]:
    """The cluster's jobs as its host follows them."""
    follow = f"&revision={revision}&wait=10" if revision >= 0 else ""
    return dict(await player.ask("GET", f"/jobs?cluster={cluster}{follow}", credential))
