"""A hub that is killed and started again: nothing that lives is ended, nothing that ended keeps its rights."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.judge.processes import processes_with_key
from tests.system.hub_fixtures import Hub, Site, running_site, until

ALL = ("proxy", "service", "hub")
ROOM_FOR_ONE = """
sizes: {small: {cores: 1, memory: 1G}}
backends: {local: {kind: local, cores: 4, memory: 1536M}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("restart"), ROOM_FOR_ONE, names=ALL) as running:
        yield running


def notebook_pid(site: Site, job_id: str) -> int:
    instance = job_id.split(".")[0]
    (pid,) = {p.pid for p in processes_with_key(instance) if p.job_id == job_id and p.entry == "notebook"}
    return pid


async def only_job(hub: Hub) -> dict[str, Any]:
    (job,) = await hub.jobs()
    return job


async def started(hub: Hub) -> dict[str, Any]:
    await hub.start()
    await until(hub.is_ready, "the server is ready")
    return await only_job(hub)


async def ended(hub: Hub) -> None:
    async def nothing_left() -> bool:
        return not await hub.jobs() and not await hub.server()

    await until(nothing_left, "everything ends")


async def test_a_live_server_that_does_not_answer_in_time_stays(site: Site) -> None:
    """JupyterHub 6.1 by itself stops it: `_wait_up` times out, and `check_spawner` ends what did not answer."""
    async with Hub(site) as hub:
        job = await started(hub)
        pid = notebook_pid(site, job["id"])
        os.kill(pid, signal.SIGSTOP)
        try:
            site.kill("hub")
            site.start("hub")
            await until(hub.is_ready, "the hub takes it for live", timeout_s=15)
            assert (await only_job(hub))["id"] == job["id"]
            assert (await only_job(hub))["wanted"] == "run"
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(hub.answers, "it answers again")
        await hub.stop()
        await ended(hub)


async def test_a_start_that_was_under_way_goes_on(site: Site) -> None:
    """JupyterHub 6.1 by itself forgets it: the job would run on, unknown to its owner."""
    async with Hub(site) as hub:
        first = await started(hub)
        await hub.begin("POST", "second")
        await until(lambda: has_jobs(hub, 2), "it waits for room")
        assert (await hub.server("second"))["pending"] == "spawn"
        second = next(job for job in await hub.jobs() if job["id"] != first["id"])
        site.kill("hub")
        site.start("hub")
        await until(lambda: is_pending_spawn(hub, "second"), "the start is known again")
        assert await hub.is_ready(), "the server that ran does not wait for the one that starts"
        await hub.stop()
        await until(lambda: hub.is_ready("second"), "there is room, and it is ready")
        assert (await only_job(hub))["id"] == second["id"], "the very job that was asked for before"
        await until(lambda: hub.answers("second"), "people get to it", timeout_s=5)
        await hub.stop("second")
        await ended(hub)
        assert await hub.server_tokens() == []


async def is_pending_spawn(hub: Hub, server: str) -> bool:
    return bool((await hub.server(server)).get("pending") == "spawn")


async def test_a_start_taken_over_can_be_cancelled(site: Site) -> None:
    async with Hub(site) as hub:
        await started(hub)
        await hub.begin("POST", "second")
        await until(lambda: has_jobs(hub, 2), "it waits for room")
        site.kill("hub")
        site.start("hub")
        await until(lambda: is_pending_spawn(hub, "second"), "the start is known again")
        await hub.stop("second")
        job = await until(lambda: one_left(hub), "the cancelled one ends")
        assert not [line for line in site.log("hub").splitlines() if "missing route for /user" in line]
        assert job["name"] == ""
        assert await hub.is_ready(), "the other is not touched"
        await hub.stop()
        await ended(hub)


async def has_jobs(hub: Hub, count: int) -> bool:
    return len(await hub.jobs()) == count


async def one_left(hub: Hub) -> dict[str, Any] | None:
    jobs = await hub.jobs()
    return jobs[0] if len(jobs) == 1 else None


async def test_tokens_of_a_server_that_was_taken_over_are_revoked_at_its_end(site: Site) -> None:
    """JupyterHub 6.1 by itself deletes the token it holds in memory, and after a restart it holds none."""
    async with Hub(site) as hub:
        await started(hub)
        site.kill("hub")
        site.start("hub")
        await until(hub.is_ready, "the server is known again")
        assert len(await hub.server_tokens()) == 1
        await hub.stop()
        await ended(hub)
        assert await hub.server_tokens() == []


async def test_what_ended_while_the_hub_was_away_keeps_no_token_and_no_route(site: Site) -> None:
    async with Hub(site) as hub:
        job = await started(hub)
        site.kill("hub")
        await hub.service_post("/jobs/stop", {"ids": [job["id"]]})
        await until(lambda: no_jobs(hub), "the job ends")
        site.start("hub")
        await ended(hub)
        assert await hub.server_tokens() == []

        async def no_route() -> bool:
            return f"/user/{hub.name}/" not in await hub.routes()

        await until(no_route, "its route is gone")


async def no_jobs(hub: Hub) -> bool:
    return not await hub.jobs()


async def test_a_hub_started_while_the_service_is_away_ends_nothing(site: Site) -> None:
    async with Hub(site) as hub:
        job = await started(hub)
        site.kill("service")
        site.kill("hub")
        site.start("hub")
        await until(hub.is_ready, "the server is live for all the hub knows")
        await until(hub.answers, "and people get to it")
        site.start("service")
        assert (await only_job(hub))["id"] == job["id"]
        assert await hub.is_ready()
        await hub.stop()
        await ended(hub)


async def test_a_stop_that_was_under_way_is_finished(site: Site) -> None:
    async with Hub(site) as hub:
        job = await started(hub)
        pid = notebook_pid(site, job["id"])
        os.kill(pid, signal.SIGSTOP)  # so that ending it takes its time
        await hub.service_post("/jobs/stop", {"ids": [job["id"]]})
        site.kill("hub")
        site.start("hub")
        await ended(hub)
        assert await hub.server_tokens() == []
        assert pid not in site.notebook_pids()


async def test_a_proxy_that_was_restarted_gets_its_routes_back(site: Site) -> None:
    async with Hub(site) as hub:
        await started(hub)
        site.kill("proxy")
        site.start("proxy")

        async def is_back() -> bool:
            return await hub.is_known() and await hub.answers()

        await until(is_back, "people get to it", timeout_s=8)
        await hub.stop()
        await ended(hub)


def test_the_hub_config_is_one_call() -> None:
    config = Path(__file__).parents[2] / "hub" / "jupyterhub_config.py"
    assert len(config.read_text().splitlines()) < 20
