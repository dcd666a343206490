"""Clusters whose hosts are jobs, as the notebook's server asks after them."""

from __future__ import annotations

import socket
import ssl
from dataclasses import fields
from typing import cast

import pytest

from sampan._api import Session
from sampan.host.hosted import Hosted
from sampan.lab import remote
from sampan.lab.remote import Remote


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setattr(remote, "STATE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(Remote, "_tls", lambda _: ssl.create_default_context())
    return Remote(cast(Session, None))


def hosted_at(port: int) -> Hosted:
    known = {"name": "work", "dashboard": f"https://127.0.0.1:{port}/status"}
    return Hosted(**{field.name: known.get(field.name, "") for field in fields(Hosted)})


async def test_a_host_that_is_silent_has_nothing_to_say(asking: Remote) -> None:
    """A busy host takes connections and gets no further: that must not take the whole list of clusters away."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert await asking.state(hosted_at(silent.getsockname()[1])) == {}


async def test_a_host_that_is_gone_has_nothing_to_say(asking: Remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert await asking.state(hosted_at(port)) == {}
