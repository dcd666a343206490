"""What a notebook always shows: sums over its person's work, its own idle end and failures, nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.jobs.model import Exit
from sampan_hub.service.pages.listing import make_row
from sampan_hub.service.pages.site import Pages
from sampan_hub.settings.model import Idle
from tests.contract.api_site import BASE, GIB, ApiSite, make_settings, running_site

IDLE_S = 600


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    state = tmp_path / "state"
    async with running_site(state, make_settings(state, idle=Idle(notebook=IDLE_S))) as running:
        yield running


async def report(site: ApiSite, job: dict[str, Any], credential: str, **said: Any) -> dict[str, Any]:
    reply = await site.call("POST", f"/jobs/{job['id']}/report", credential, said)
    assert reply.status == 200, reply.body
    return reply.body


async def session(site: ApiSite, credential: str) -> dict[str, Any]:
    reply = await site.call("GET", "/session", credential)
    assert reply.status == 200, reply.body
    return reply.body


async def test_everything_of_the_person_and_nothing_of_others(site: ApiSite) -> None:
    _, ana = await site.claimed_notebook("ana")
    await site.claimed_notebook("ana", "second")
    await site.claimed_notebook("ben")
    cluster, host = await site.make_cluster(ana)
    worker = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"][0]["job"]
    await site.until_state(worker["id"], "starting")
    told = await session(site, ana)
    assert (told["jobs"], told["cores_milli"], told["memory_bytes"], told["gpus"]) == (3, 3000, 3 * GIB, 0)
    assert (told["price_micros_per_hour"], told["currency"]) == (1_500_000, "EUR")
    assert told["failures"] == []

    await site.call("PUT", "/pause", site.admin, {"sentence": "Back at three."})
    assert (await session(site, ana))["paused"] == "Back at three."


async def test_the_idle_end_is_the_one_that_the_service_keeps_to(site: ApiSite) -> None:
    job, ana = await site.claimed_notebook("ana")
    assert (await session(site, ana))["idle_end_at"] is None, "it is not running yet"
    site.backend.listeners.add((job["id"], "127.0.0.1", 40123))
    await report(site, job, ana, address={"host": "127.0.0.1", "port": 40123}, busy=True)
    assert (await session(site, ana))["idle_end_at"] is None, "it works"
    busy_at = (await report(site, job, ana, busy=False))["busy_at"]
    end = (await session(site, ana))["idle_end_at"]
    assert datetime.fromisoformat(end) - datetime.fromisoformat(busy_at) == timedelta(seconds=IDLE_S)


async def test_the_end_of_the_walltime_is_told_everywhere(site: ApiSite) -> None:
    site.backend.walltime = timedelta(hours=8)
    job, ana = await site.claimed_notebook("ana")

    async def is_told() -> bool:
        return (await session(site, ana))["deadline"] is not None

    await site.until(is_told)
    told = await session(site, ana)
    deadline = datetime.fromisoformat(told["deadline"])
    assert timedelta(hours=7, minutes=55) < deadline - datetime.now(UTC) <= timedelta(hours=8)
    assert told["walltime_notice_s"] == 120
    assert (await site.job(job["id"]))["deadline"] == told["deadline"]
    recorded = site.context.store.job(job["id"])
    row = make_row(recorded, "/", datetime.now(UTC))
    pages = Pages(site.context, BASE)
    shown = pages.render("job_part.html", {"row": row, "job": recorded, "viewer": "ana", "lines": []})
    assert f'ends at <time data-at datetime="{deadline.isoformat(timespec="seconds")}">' in shown


async def test_a_failure_is_told_with_its_reason_and_a_stop_is_none(site: ApiSite) -> None:
    _, ana = await site.claimed_notebook("ana")
    _, second = await site.claimed_notebook("ana", "second")
    cluster, host = await site.make_cluster(ana)
    items = (await site.submit_workers(host, cluster["id"], ["calc-0", "calc-1"])).body["items"]
    failing, stopping = (item["job"] for item in items)
    await site.until_state(failing["id"], "starting")
    await site.call("POST", "/jobs/stop", ana, {"ids": [stopping["id"]]})
    site.backend.finish(failing["id"], Exit(code=1))
    for worker in (failing, stopping):
        await site.until_state(worker["id"], "ended")
    (failure,) = (await session(site, ana))["failures"]
    assert (failure["id"], failure["name"], failure["cluster"]) == (failing["id"], "calc-0", "calc")
    assert failure["text"]
    assert (await session(site, second))["failures"] == []
