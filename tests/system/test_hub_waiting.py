"""While there is no room: the cause and the place are said, and the wait can be called off."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from yarl import URL

from tests.system.hub_fixtures import Browser, Hub, Site, running_site, until

ROOM_FOR_ONE = """
isolation: none
sizes: {small: {cores: 1, memory: 1G}}
backends: {local: {kind: local, cores: 4, memory: 1536M}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("waiting"), ROOM_FOR_ONE, names=("proxy", "service", "hub")) as running:
        yield running


async def first_events(hub: Hub, count: int) -> list[dict[str, object]]:
    """The first events of the stream that the pending page reads."""
    events: list[dict[str, object]] = []
    url = f"{hub.site.url}/hub/api/users/{hub.name}/server/progress"
    async with hub.session.get(url, headers={"Authorization": f"token {hub.site.cli_token}"}) as answer:
        assert answer.status == 200
        async for line in answer.content:
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
            if len(events) == count:
                return events
    return events


async def is_idle(hub: Hub) -> bool:
    return not await hub.jobs() and not await hub.server()


async def test_who_waits_reads_why_and_may_call_it_off(site: Site) -> None:
    async with Hub(site, "ana") as ana, Hub(site, "ben") as ben, Browser(site) as browser:
        for hub in (ana, ben):
            assert (await hub.call("POST", f"/users/{hub.name}"))[0] == 201
        await ana.start()
        await until(ana.is_ready, "ana's server is ready")
        await browser.enter("ben")
        status, url, body = await browser.send_form("/hub/spawn", {"size": "small"})
        assert status == 200
        assert URL(url).path == "/hub/spawn-pending/ben", body
        requested, waiting = await first_events(ben, 2)
        assert requested["message"] == "Server requested"
        assert "Waiting for room on the machine, place 1: " in str(waiting["message"])
        await ben.stop()

        async def ana_alone() -> bool:
            return [job["owner"] for job in await ben.jobs()] == ["ana"]

        await until(ana_alone, "ben's job ends without having run")
        assert not await ben.server()
        assert await ben.server_tokens() == []
        assert await ana.is_ready()
        await ana.stop()
        await until(lambda: is_idle(ana), "ana's ends too")


async def test_a_wait_ends_when_there_is_room(site: Site) -> None:
    async with Hub(site, "ana") as ana, Hub(site, "ben") as ben:
        await ana.start()
        await until(ana.is_ready, "ana's server is ready")
        await ben.begin("POST")
        assert (await ben.server())["pending"] == "spawn"
        await ana.stop()
        await until(ben.is_ready, "ben's server is ready", timeout_s=30)
        assert await ben.answers()
        assert not await ana.server()
        await ben.stop()
        await until(lambda: is_idle(ben), "it ends")
