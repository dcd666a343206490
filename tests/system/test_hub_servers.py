"""Servers as jobs: the real hub, proxy, service and notebook."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.hub_fixtures import Browser, Hub, Site, running_site, until

ALL = ("proxy", "service", "hub")
LIMITED = "limits: {user: {jobs: 1}, raised_by: the front desk}\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("servers"), LIMITED, names=ALL) as running:
        yield running


@pytest.mark.parametrize(
    ("options", "field", "allowed"),
    [
        ({"size": "nope"}, "size", "small"),
        ({"cmd": ["id"]}, "cmd", "size, project, environment"),
        ({"env": {"A": "1"}}, "env", "size, project, environment"),
    ],
)
async def test_an_option_not_allowed_is_a_400_and_starts_nothing(
    site: Site, options: dict[str, object], field: str, allowed: str
) -> None:
    async with Hub(site) as hub:
        status, body = await hub.call("POST", f"/users/{hub.name}/server", options)
        assert status == 400
        assert field in body["message"]
        assert allowed in body["message"]
        wrapped = {"display_name": "x", "user_options": options}
        assert (await hub.call("POST", f"/users/{hub.name}/server", wrapped))[0] == 400
        assert site.notebook_pids() == []
        assert await hub.jobs() == []
        assert not await hub.server()


async def test_a_refused_option_is_not_kept_for_the_next_start(site: Site) -> None:
    async with Hub(site) as hub:
        assert (await hub.call("POST", f"/users/{hub.name}/server", {"size": "nope"}))[0] == 400
        status, body = await hub.call("POST", f"/users/{hub.name}/server")
        assert status in (201, 202), body
        await until(hub.is_ready, "it starts with the defaults")
        await hub.stop()
        await until(lambda: no_jobs(hub), "it ends")


async def no_jobs(hub: Hub) -> bool:
    return not await hub.jobs()


async def is_inactive(hub: Hub) -> bool:
    return not await hub.server()


async def test_the_form_starts_what_was_chosen_and_stop_leaves_nothing(site: Site) -> None:
    async with Hub(site) as hub, Browser(site) as browser:
        await browser.enter(hub.name)
        status, _, body = await browser.send_form("/hub/spawn", {"size": "medium"})
        assert status == 200, body
        await until(hub.is_ready, "the server is ready")
        (job,) = await hub.jobs()
        assert (job["size"], job["owner"], job["name"], job["state"]) == ("medium", hub.name, "", "running")
        assert await hub.answers()
        assert len(await hub.server_tokens()) == 1
        assert f"/user/{hub.name}/" in await hub.routes()
        await hub.stop()
        await until(lambda: no_jobs(hub), "the job ends")
        await until(lambda: is_inactive(hub), "the hub has seen it")
        assert site.notebook_pids() == []
        assert await hub.server_tokens() == []
        assert f"/user/{hub.name}/" not in await hub.routes()


async def test_a_form_with_anything_else_is_refused_on_its_page(site: Site) -> None:
    async with Hub(site) as hub, Browser(site) as browser:
        await browser.enter(hub.name)
        status, _, body = await browser.send_form("/hub/spawn", {"size": "small", "cmd": "id"})
        assert status == 400
        assert "cmd: no such option" in body
        assert await hub.jobs() == []


async def test_a_link_with_options_is_checked_as_the_form_is(site: Site) -> None:
    async with Hub(site) as hub, Browser(site) as browser:
        await browser.enter(hub.name)
        for query in ("opt-size=nope", "size=nope", "opt-cmd=id"):
            status, _, body = await browser.get(f"/hub/spawn?{query}")
            assert status == 400, query
            assert "allowed: " in body
        assert await hub.jobs() == []


async def test_a_refusal_is_read_on_every_page(site: Site) -> None:
    """The limit, its use, what was asked and who raises it: on the form, the pending page, /user and in the API."""
    sentence = "Your limit is 1 jobs; 1 jobs in use, 1 jobs asked for. It can be raised by the front desk."
    async with Hub(site) as hub, Browser(site) as browser:
        await browser.enter(hub.name)
        await hub.start(server="first")
        await until(lambda: hub.is_ready("first"), "the first is ready")
        status, _, body = await browser.send_form("/hub/spawn", {"size": "small"})
        assert sentence in body
        assert status == 429
        for path in (f"/hub/spawn-pending/{hub.name}", f"/user/{hub.name}/lab"):
            _, _, body = await browser.get(path)
            assert sentence in body, path
            assert "Traceback" not in body
        status, answer = await hub.call("POST", f"/users/{hub.name}/server", {})
        assert (status, answer["message"]) == (429, sentence)
        await hub.stop("first")
        await until(lambda: no_jobs(hub), "the first ends")
        await hub.start()
        await until(hub.is_ready, "after it there is room")
        await hub.stop()
        await until(lambda: no_jobs(hub), "all end")


async def test_a_server_that_dies_is_known_at_once(site: Site) -> None:
    """Its route and its token go with it, by the feed and not by a poll every half minute."""
    async with Hub(site) as hub:
        await hub.start()
        await until(hub.is_ready, "the server is ready")
        for pid in site.notebook_pids():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: is_inactive(hub), "the hub knows", timeout_s=10)
        assert await hub.server_tokens() == []
        assert f"/user/{hub.name}/" not in await hub.routes()


async def test_a_job_that_this_hub_did_not_start_makes_room(site: Site) -> None:
    """Whatever runs under the same owner and name is ended first: its token is none of ours."""
    async with Hub(site) as hub:
        base = {"kind": "notebook", "owner": hub.name}
        answer = await hub.service_post("/jobs", {"batch": "somebody-else", "base": base, "items": [{"name": ""}]})
        (other,) = answer["items"]
        assert other["status"] == "accepted", other
        await hub.start()
        await until(hub.is_ready, "ours is ready", timeout_s=30)
        (job,) = await hub.jobs()
        assert job["id"] != other["job"]["id"]
        await hub.stop()
        await until(lambda: no_jobs(hub), "it ends")


async def test_a_stop_goes_on_through_a_restart_of_the_service(site: Site) -> None:
    async with Hub(site) as hub:
        await hub.start()
        await until(hub.is_ready, "the server is ready")
        site.kill("service")
        await hub.begin("DELETE")
        pending = (await hub.server())["pending"]
        assert pending == "stop", "a stop is done when it is confirmed, and nobody is there to confirm it"
        assert site.notebook_pids(), "without the service nothing dies"
        site.start("service")
        await until(lambda: is_inactive(hub), "the stop is done")
        assert site.notebook_pids() == []
        assert await hub.server_tokens() == []


async def test_without_the_service_a_start_is_refused_and_the_sentence_is_on_the_pages(tmp_path: Path) -> None:
    with running_site(tmp_path, names=("proxy", "hub")) as site:
        async with Hub(site) as hub, Browser(site) as browser:
            await browser.enter(hub.name)
            status, url, body = await browser.send_form("/hub/spawn", {"size": "small"})
            assert "does not answer" not in body
            assert "/hub/spawn-pending/" in url, (status, body)

            async def has_failed() -> bool:
                return not (await hub.server()).get("pending")

            await until(has_failed, "it gives up", timeout_s=40)
            for path in (f"/hub/spawn-pending/{hub.name}", f"/user/{hub.name}/lab"):
                _, _, body = await browser.get(path)
                assert "The compute service does not answer, so no server was started." in body, path
            status, _, body = await browser.get("/hub/spawn")
            assert status == 200
            assert "does not answer at the moment" in body
