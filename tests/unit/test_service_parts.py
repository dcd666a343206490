"""The service's small parts: tokens at the hub, the revision watcher, what is news, logs, capacities, start."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sampan_hub.jobs.model import Resources
from sampan_hub.jobs.store import Store
from sampan_hub.service.capacities import how_many
from sampan_hub.service.feed import Snapshot
from sampan_hub.service.hubusers import CACHE_S, HubUnreachable, HubUser, HubUsers, parse_hub_user
from sampan_hub.service.logs import JsonFormatter
from sampan_hub.service.places import base_path
from sampan_hub.service.ports import read_own_ports
from sampan_hub.service.problems import describe_validation_error
from sampan_hub.service.revisions import Revisions
from sampan_hub.service.start import StartError, settle_instance
from sampan_hub.settings.model import Settings
from tests.contract.api_site import free_port

# Tokens


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"name": "ana", "scopes": ["access:services!service=sampan"]}, HubUser("ana", False, True)),
        ({"name": "ana", "scopes": ["access:services"]}, HubUser("ana", False, True)),
        ({"name": "ana", "scopes": ["users!user=ana"]}, HubUser("ana", False, True)),
        ({"name": "ana", "scopes": ["users!user=ben"]}, HubUser("ana", False, False)),
        ({"name": "ana", "scopes": ["access:services!service=other"]}, HubUser("ana", False, False)),
        ({"name": "ana", "scopes": ["access:servers!server=ana/"]}, HubUser("ana", False, False)),
        ({"name": "ana", "scopes": []}, HubUser("ana", False, False)),
        (
            {"name": "eve", "admin": True, "scopes": ["access:services", "admin:users"]},
            HubUser("eve", True, True, True),
        ),
        ({"name": "eve", "admin": True, "scopes": ["access:services"]}, HubUser("eve", False, True)),
        ({"name": "ana", "admin": False, "scopes": ["access:services", "admin:users"]}, HubUser("ana", False, True)),
        ({"name": "cull", "kind": "service", "scopes": ["access:services"]}, None),
    ],
)
def test_scopes_decide_whether_a_token_gets_in_and_as_what(model: dict[str, Any], expected: HubUser | None) -> None:
    assert parse_hub_user({"kind": "user", **model}) == expected


class Hub:
    """Counts questions; answers what the test set."""

    def __init__(self) -> None:
        self.questions = 0
        self.status = 200
        self.delay_s = 0.0
        self.url = ""

    async def answer(self, _request: web.Request) -> web.Response:
        self.questions += 1
        await asyncio.sleep(self.delay_s)
        model = {"kind": "user", "name": "ana", "scopes": ["access:services"]}
        return web.json_response(model, status=self.status)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub, port = Hub(), free_port()
    app = web.Application()
    app.router.add_get("/hub/api/user", hub.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    hub.url = f"http://127.0.0.1:{port}/hub/api"
    yield hub
    await runner.cleanup()


async def test_many_at_once_are_one_question(hub: Hub) -> None:
    hub.delay_s = 0.05
    users = HubUsers(hub.url)
    answers = await asyncio.gather(*(users.resolve("a-token") for _ in range(20)))
    assert {answer.name for answer in answers if answer} == {"ana"}
    assert hub.questions == 1
    await users.close()


async def test_answers_are_kept_for_seconds_and_refusals_too(hub: Hub) -> None:
    now_s = 0.0
    users = HubUsers(hub.url, clock_s=lambda: now_s)
    hub.status = 403
    assert await users.resolve("a-token") is None
    hub.status = 200
    assert await users.resolve("a-token") is None
    now_s += CACHE_S + 0.1
    assert await users.resolve("a-token") is not None
    assert hub.questions == 2
    await users.close()


async def test_a_hub_that_fails_is_unreachable_and_not_remembered(hub: Hub) -> None:
    users = HubUsers(hub.url)
    for status in (500, 302):
        hub.status = status
        with pytest.raises(HubUnreachable):
            await users.resolve("a-token")
    hub.status = 200
    assert await users.resolve("a-token") is not None
    await users.close()
    nobody = HubUsers(f"http://127.0.0.1:{free_port()}/hub/api")
    with pytest.raises(HubUnreachable):
        await nobody.resolve("a-token")
    await nobody.close()


async def test_one_who_hangs_up_does_not_spoil_it_for_others(hub: Hub) -> None:
    hub.delay_s = 0.1
    users = HubUsers(hub.url)
    first = asyncio.create_task(users.resolve("a-token"))
    second = asyncio.create_task(users.resolve("a-token"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    await users.close()


# Revisions


async def test_a_poke_wakes_at_once_and_other_writers_within_a_second() -> None:
    revision = 1

    async def read() -> int:
        return revision

    revisions = Revisions(read)
    watching = asyncio.create_task(revisions.run())
    assert await revisions.wait_change(0, 5) == 1
    waiting = asyncio.create_task(revisions.wait_change(1, 10))
    await asyncio.sleep(0)
    begun_s = time.monotonic()
    revision = 2
    revisions.poke()
    assert await waiting == 2
    assert time.monotonic() - begun_s < 0.5
    revision = 3  # nobody says so
    assert await revisions.wait_change(2, 10) == 3
    assert await revisions.wait_change(3, 0.05) == 3
    waiting = asyncio.create_task(revisions.wait_change(3, 30))
    await asyncio.sleep(0)
    revisions.release()
    assert await asyncio.wait_for(waiting, 1) == 3
    assert revisions.waiting == 0
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def test_what_is_news() -> None:
    first = Snapshot(10, [], [], allowed_now=4, paused=None)
    assert not Snapshot(12, [], [], allowed_now=4, paused=None).is_news(10, first)
    assert Snapshot(12, [], [], allowed_now=3, paused=None).is_news(10, first)
    assert Snapshot(12, [], [], allowed_now=4, paused="Back at noon.").is_news(10, first)
    assert Snapshot(3, [], [], allowed_now=4, paused=None).is_news(10, first), "a restored database"


# Small decisions


def test_how_many_fit() -> None:
    free = Resources(4000, 10 * 2**30, 1)
    assert how_many(free, Resources(1000, 2**30)) == 4
    assert how_many(free, Resources(100, 4 * 2**30)) == 2
    assert how_many(free, Resources(1000, 2**30, gpus=1)) == 1
    assert how_many(Resources(-500, 2**30), Resources(1000, 2**30)) == 0
    assert how_many(None, Resources(1000, 2**30)) is None


def test_own_ports_are_all_that_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    assert read_own_ports(file, 8000, 9000).all == {8000, 9000}
    file.write_text(json.dumps({"public": 8000, "proxy_api": 1, "hub": 2, "service": 3}))
    ports = read_own_ports(file, 8000, 9000)
    assert (ports.all, ports.hub) == ({8000, 9000, 1, 2, 3}, 2)


@pytest.mark.parametrize(
    ("url", "path"),
    [("http://127.0.0.1:8000/", "/services/sampan"), ("https://a.example/lab", "/lab/services/sampan")],
)
def test_routes_lie_below_the_way_people_come_in(url: str, path: str) -> None:
    assert base_path(Settings(url=url)) == path


def test_the_instance_is_made_once_and_a_foreign_database_is_refused(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/one.sqlite", secrets_key=b"k")
    store.migrate()
    made = settle_instance(store, tmp_path / "instance")
    assert settle_instance(store, tmp_path / "instance") == made
    wiped = Store(f"sqlite:///{tmp_path}/two.sqlite", secrets_key=b"k")
    wiped.migrate()
    assert settle_instance(wiped, tmp_path / "instance") == made
    (tmp_path / "instance").write_text("aaaaaaaa\n")
    with pytest.raises(StartError, match=made):
        settle_instance(store, tmp_path / "instance")
    store.close()
    wiped.close()


def test_a_json_log_line_is_one_object_with_its_fields_and_traceback() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("one")
    logger.addHandler(handler)
    logger.info("GET %s", "/x", extra={"status": 200})
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["status"], first["level"], first["logger"]) == ("GET /x", 200, "info", "one")
    assert "ValueError: two\nlines" in second["traceback"]


def test_the_first_validation_error_is_described() -> None:
    error = {"type": "missing", "loc": ("body", "base", "kind"), "msg": "Field required"}
    assert describe_validation_error([error], None) == ("base.kind", "'base.kind' is missing.", None)
