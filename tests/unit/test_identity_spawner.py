"""A JobSpawner on JupyterHub's own records: what it does with what the feed says, without a hub around it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.objects import Server
from jupyterhub.user import User
from traitlets.config import Config

from sampan_hub.identity.feed import Feed
from sampan_hub.identity.notebooks import Notebook
from sampan_hub.identity.refusals import SpawnRefused
from sampan_hub.identity.spawner import JobSpawner, refuse_options
from sampan_hub.settings.model import Settings, Size

LIVE = Notebook("inst.1", "ana", "", "batch-1", "running", "run", "2026", address="http://127.0.0.1:5001")
SERVER = "Server at /user/ana/"
SETTINGS = Settings(sizes={"small": Size(cores=1, memory="1G")})


@dataclass
class Proxy:
    routed: list[str] = field(default_factory=list)

    async def add_user(self, user: Any, name: str) -> None:
        self.routed.append(user.spawners[name].server.host)


@dataclass
class Compute:
    """Only what a spawner asks beside the feed."""

    stopped: list[str] = field(default_factory=list)

    async def stop(self, job_id: str, reason: str) -> None:
        self.stopped.append(job_id)

    async def close(self) -> None:
        pass

    async def notebooks(self, *_: Any) -> Any:
        await asyncio.Event().wait()  # the test itself says what is heard


@pytest.fixture
async def user() -> AsyncIterator[User]:
    db = orm.new_session_factory("sqlite:///:memory:")()
    orm_user = orm.User(name="ana")
    db.add(orm_user)
    db.commit()
    feed = Feed(Compute(), logging.getLogger("test"))  # type: ignore[arg-type]  # the part of it that is used
    config = Config()
    config.JobSpawner.settings = SETTINGS
    hub = SimpleNamespace(public_host="", base_url="/hub/", api_url="http://127.0.0.1/hub/api")
    settings = {
        "spawner_class": JobSpawner,
        "base_url": "/",
        "hub": hub,
        "config": config,
        "proxy": Proxy(),
        "sampan_feed": feed,
        "authenticator": None,
    }
    yield User(orm_user, settings)
    await feed.close()
    db.close()


def live_spawner(user: User, state: dict[str, Any]) -> JobSpawner:
    """A server that a hub before this one started and stored."""
    user._new_orm_spawner("", "")
    orm_spawner = user.orm_spawners[""]
    orm_spawner.server = orm.Server(base_url="/user/ana/", ip="127.0.0.1", port=5001, proto="http")
    orm_spawner.state = state
    user.db.commit()
    spawner = user.spawners[""]
    assert isinstance(spawner, JobSpawner)
    return spawner


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_new_address_moves_the_route(user: User) -> None:
    spawner = live_spawner(user, {"job": "inst.1", "ready": True})
    feed: Feed = user.settings["sampan_feed"]
    feed.learn(LIVE)
    await settle()
    assert user.settings["proxy"].routed == []
    feed.learn(replace(LIVE, address="http://127.0.0.1:5002"))
    await settle()
    assert user.settings["proxy"].routed == ["http://127.0.0.1:5002"]
    assert spawner.orm_spawner.server.port == 5002


async def test_an_end_is_told_once_and_at_once(user: User) -> None:
    spawner = live_spawner(user, {"job": "inst.1", "ready": True})
    told: list[str] = []
    spawner.add_poll_callback(told.append, "ended")
    feed: Feed = user.settings["sampan_feed"]
    feed.learn(LIVE)
    await settle()
    assert told == []
    for _ in range(2):
        feed.learn(replace(LIVE, state="ended", exit_signal=9))
        await settle()
    assert told == ["ended"]
    assert await spawner.poll() == -9


@pytest.mark.parametrize("state", ["accepted", "submitting", "queued", "starting", "running", "stopping"])
async def test_poll_is_none_for_every_state_but_ended(user: User, state: str) -> None:
    spawner = live_spawner(user, {"job": "inst.1"})
    assert await spawner.poll() is None, "nothing was heard"
    user.settings["sampan_feed"].learn(replace(LIVE, state=state, is_unknown=True))
    assert await spawner.poll() is None
    user.settings["sampan_feed"].learn(replace(LIVE, state=state, lost=True))
    assert await spawner.poll() is None


async def test_nothing_asked_for_is_nothing_to_poll_or_stop(user: User) -> None:
    user._new_orm_spawner("", "")
    spawner = user.spawners[""]
    assert await spawner.poll() == 0
    await spawner.stop()
    assert user.settings["sampan_feed"].compute.stopped == []


async def test_a_lost_server_lets_its_owner_go(user: User) -> None:
    """Lost frees the name; the service still stops it, should it be seen again."""
    spawner = live_spawner(user, {"job": "inst.1"})
    user.settings["sampan_feed"].learn(replace(LIVE, lost=True))
    async with asyncio.timeout(5):
        await spawner.stop()


async def test_a_job_known_only_by_its_key_is_kept_by_id_from_then_on(user: User) -> None:
    spawner = live_spawner(user, {"batch": "batch-1"})
    assert not spawner.ready, "without an address nobody is sent there"
    user.settings["sampan_feed"].learn(LIVE)
    assert spawner.orm_spawner.state == {"job": "inst.1", "batch": "batch-1"}
    assert spawner.ready


async def test_secrets_travel_apart_from_the_environment(user: User) -> None:
    spawner = live_spawner(user, {})
    spawner.api_token = "the-token-of-this-server"
    spawner.user_options = {"size": "small"}
    request = spawner._request("key")
    assert request["base"]["secrets"]["JUPYTERHUB_API_TOKEN"] == "the-token-of-this-server"
    assert "the-token-of-this-server" not in str(request["base"]["env"])
    assert request["base"]["env"]["JUPYTERHUB_USER"] == "ana"
    assert request["base"]["size"] == "small"
    assert not [name for name in request["base"]["env"] if name in ("PATH", "HOME", "VIRTUAL_ENV")]


async def test_a_refused_option_is_a_400_and_forgotten(user: User) -> None:
    spawner = live_spawner(user, {})
    spawner.orm_spawner.user_options = {"size": "nope"}
    with pytest.raises(SpawnRefused) as caught:
        refuse_options(spawner, {"size": "nope"})
    assert caught.value.status_code == 400
    assert caught.value.jupyterhub_message == "size: 'nope' is not allowed; allowed: small."
    assert spawner.orm_spawner.user_options == {}


async def test_server_tokens_are_revoked_and_others_kept(user: User) -> None:
    spawner = live_spawner(user, {})
    user.db.add(orm.OAuthClient(identifier="jupyterhub"))
    for token, note in (("old-of-the-server", SERVER), ("own-of-the-person", "mine"), ("new-of-the-server", SERVER)):
        orm.APIToken.new(token=token, user=user.orm_user, note=note, scopes=[])
    spawner._revoke_tokens(but="new-of-the-server")
    assert orm.APIToken.find(user.db, "old-of-the-server") is None
    assert orm.APIToken.find(user.db, "new-of-the-server") is not None
    assert orm.APIToken.find(user.db, "own-of-the-person") is not None
    spawner.run_post_stop_hook()
    assert [token.note for token in user.orm_user.api_tokens] == ["mine"]


def test_the_server_wait_is_ours(user: User) -> None:
    """JupyterHub asks `server.wait_up`, with a timeout that would end what does not answer in it."""
    spawner = live_spawner(user, {})
    assert isinstance(spawner.server, Server)
    assert spawner.server.wait_up == spawner._wait_up
