"""Where jobs listen: which address, which port. And whose word a job takes for the service's."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan import network
from sampan._api import Session
from sampan._job import run_token
from sampan.errors import SampanError
from sampan.host.start import choose_place


def test_the_address_is_in_the_network_or_none_is_chosen() -> None:
    assert network.address_in("127.0.0.0/8") == "127.0.0.1"
    assert network.address_in("::1/128") == "::1"
    for elsewhere in ("203.0.113.0/24", "127.0.0.2/32", "2001:db8::/64"):
        with pytest.raises(SampanError, match="no address in"):
            network.address_in(elsewhere)


def test_without_a_network_it_is_the_way_to_the_service() -> None:
    assert network.choose_address(None, "https://127.0.0.1:8000/services/sampan") == "127.0.0.1"
    assert network.choose_address("127.0.0.0/8", "https://203.0.113.1/services/sampan") == "127.0.0.1"
    with pytest.raises(SampanError, match="no way to"):
        network.choose_address(None, "https://nowhere.invalid/services/sampan")


def test_an_address_without_a_way_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("255.255.255.255", 9)),
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 9)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert network.address_toward("hub.example") == "127.0.0.1"


@given(st.integers(1024, 65535), st.integers(0, 200))
def test_every_port_of_the_range_is_tried_once(first: int, more: int) -> None:
    ports = (first, min(first + more, 65535))
    assert sorted(network.ports_in(ports)) == list(range(ports[0], ports[1] + 1))
    assert network.parse_ports(network.render_ports(ports)) == ports


@pytest.mark.parametrize(
    ("notebook", "answer", "place"),
    [
        (("127.0.0.1", None), {}, ("127.0.0.1", None)),
        (("127.0.0.1", None), {"network": None, "ports": None}, ("127.0.0.1", None)),
        (("127.0.0.1", None), {"network": "::1/128", "ports": [30000, 30099]}, ("::1", (30000, 30099))),
        (("10.88.0.3", (31000, 31099)), {"network": None, "ports": None}, ("10.88.0.3", (31000, 31099))),
        (("10.88.0.3", (31000, 31099)), {"network": None, "ports": [30000, 30099]}, ("10.88.0.3", (31000, 31099))),
    ],
    ids=["an older service", "here", "workers elsewhere", "a notebook elsewhere", "both elsewhere"],
)
def test_a_scheduler_listens_where_its_workers_reach_it(
    notebook: tuple[str, network.Ports | None], answer: dict[str, Any], place: tuple[str, network.Ports | None]
) -> None:
    session = Session("https://hub.example", "job", Path("file"), Path(), address=notebook[0], ports=notebook[1])
    assert choose_place(session, answer) == place


def test_any_port_is_any_port() -> None:
    assert list(network.ports_in(None)) == [0]
    assert network.parse_ports(network.render_ports(None)) is None


def test_taken_ports_are_passed_over_and_a_full_range_is_said() -> None:
    with network.listen("127.0.0.1", None) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SampanError, match="is taken"):
            network.listen("127.0.0.1", (port, port))
        beside = (port - 1, port) if port > 1024 else (port, port + 1)
        with network.listen("127.0.0.1", beside) as found:
            assert found.getsockname()[1] in set(range(beside[0], beside[1] + 1)) - {port}
            assert not found.getblocking()
            socket.create_connection(found.getsockname(), timeout=5).close()


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(SampanError, match="cannot be listened on"):
        network.listen("203.0.113.1", None)


@pytest.mark.parametrize(
    ("host", "is_loopback"), [("127.0.0.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a", False)]
)
def test_who_can_reach_it(host: str, is_loopback: bool) -> None:
    assert network.is_loopback(host) is is_loopback


def test_a_backend_may_name_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAMPAN_RUN", raising=False)
    assert run_token().count(":") == 2
    monkeypatch.setenv("SAMPAN_RUN", "4711:1")
    assert run_token() == "4711:1"
