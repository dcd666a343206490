"""Proxy and hub apart: nothing but certificates lets them in at each other, and each can go alone."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from sampan_hub.cli.kubernetes.filling import PROXY_API
from sampan_hub.identity.config import ROUTE_CHECK_S
from sampan_hub.trust.authority import Usage, certificate_pem, key_pem, make_authority_certificate, make_key
from sampan_hub.trust.front import open_front
from tests.support.kernels import Kernel, _collect, _execute_request
from tests.support.sides import HUB_SIDE, Sides
from tests.system.hub_fixtures import Hub, Site, until

LAYOUT_SETTINGS = "backends: {local: {kind: local, cores: 4, memory: 4G}}\nsizes: {small: {cores: 1, memory: 1G}}\n"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    made = Sides(tmp_path_factory.mktemp("sides"), LAYOUT_SETTINGS)
    try:
        made.fill()
        made.start("proxy", *HUB_SIDE)
        yield made
    finally:
        made.stop()


def hub_of(sides: Sides) -> Hub:
    """The REST clients of other tests, which ask no more of a site than what sides have."""
    return Hub(cast(Site, sides), "ana")


async def ready_notebook(hub: Hub) -> dict[str, Any]:
    await hub.call("POST", f"/users/{hub.name}")
    if not await hub.server():
        await hub.start()
    await until(hub.is_ready, "the server is ready", 60)
    (job,) = await hub.jobs()
    return job


async def start_kernel(hub: Hub) -> Kernel:
    token = (await hub.call("POST", f"/users/{hub.name}/tokens", {"expires_in": 600}))[1]["token"]
    return await Kernel.start(hub.session, f"{hub.site.url}/user/{hub.name}", token)


@pytest.mark.timeout(180)
async def test_people_work_through_both_and_the_hub_can_be_replaced_under_them(sides: Sides) -> None:
    async with hub_of(sides) as hub:
        before = await ready_notebook(hub)
        kernel = await start_kernel(hub)
        proxy, routes = sides.processes["proxy"].pid, await hub.routes()
        async with kernel._channels() as channels:
            assert (await count(channels)) == "1"
            sides.kill(*HUB_SIDE)
            assert (await count(channels)) == "2", "while there is no hub"
            sides.start(*HUB_SIDE)
            await until(hub.is_ready, "the hub knows the server again", 30)
            assert (await count(channels)) == "3", "the very websocket"
        assert (await ready_notebook(hub))["id"] == before["id"]
        assert await hub.answers()
        assert await hub.routes() == routes
    assert sides.processes["proxy"].pid == proxy
    assert "Updating route" not in sides.log("hub"), "it knows its own routes again"
    assert "missing route" not in sides.log("hub").split("Running JupyterHub")[-1]


@pytest.mark.timeout(120)
async def test_a_proxy_that_begins_anew_has_its_routes_in_a_moment(sides: Sides) -> None:
    async with hub_of(sides) as hub:
        await ready_notebook(hub)
        routes = await hub.routes()
    sides.kill("proxy")
    sides.start("proxy")
    async with hub_of(sides) as hub:
        await until(hub.answers, "people are at their notebooks again", 30)
        assert await hub.routes() == routes
    said = sides.log("proxy")
    begun, restored = (said_at(said, words) for words in ("Proxy API at", "Route added /user/ana"))
    assert (restored - begun).total_seconds() < ROUTE_CHECK_S["site"] / 2, "sooner than JupyterHub itself compares"


def said_at(log: str, words: str) -> datetime:
    """When a proxy said this last."""
    (*_, line) = (line for line in log.splitlines() if words in line)
    return datetime.fromisoformat(line.split()[0])


async def count(channels: Any) -> str:
    """One more, in the kernel's own memory."""
    message_id = uuid.uuid4().hex
    code = "number = globals().get('number', 0) + 1; number"
    await channels.send_str(json.dumps(_execute_request(code, message_id)))
    return (await asyncio.wait_for(_collect(channels, message_id), 30)).checked().value


async def test_the_proxys_targets_name_who_answers(sides: Sides) -> None:
    targets = await asyncio.to_thread(read_targets, sides)
    host, port = sides.entries["hub-entry"]
    assert targets["/"] == f"https://hub@{host}:{port}"
    host, port = sides.entries["service-entry"]
    assert targets["/services/sampan"] == f"https://service@{host}:{port}"


def read_targets(sides: Sides) -> dict[str, str]:
    token = (sides.proxy_paths.keys / "proxy-token").read_text().strip()
    url = f"https://{sides.api[0]}:{sides.api[1]}/api/routes"
    asked = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(asked, context=sides.front, timeout=10) as answer:
        return {path: route["target"] for path, route in json.load(answer).items()}


@pytest.mark.parametrize("door", ["api", "hub-entry", "service-entry"])
def test_only_the_fronts_certificate_opens(sides: Sides, tmp_path: Path, door: str) -> None:
    place = sides.api if door == "api" else sides.entries[door]
    path = "/api/routes" if door == "api" else "/hub/health"
    assert b"HTTP/1.1" in ask(place, path, sides.front), "the front is let in"
    job = open_front(sides.paths.tls, datetime.now(UTC)).issue(
        "aaaaaaaa.bbbbbbbbbbbbbbbb", {place[0]}, datetime.now(UTC)
    )
    key = make_key()
    stranger = certificate_pem(make_authority_certificate(key, "Sampan front", Usage.CLIENT, datetime.now(UTC)))
    pairs = {
        "a notebook's": (job.certificate, job.key),
        "one that calls itself so": (stranger.decode(), key_pem(key).decode()),
        "the entry's": read_pair(sides.proxy_paths.tls, "entry"),
        "the proxy's API's": read_pair(sides.proxy_paths.tls, PROXY_API),
    }
    for whose, (certificate, private) in pairs.items():
        context = trusting(sides)
        (tmp_path / "c").write_text(certificate)
        (tmp_path / "k").write_text(private)
        context.load_cert_chain(tmp_path / "c", tmp_path / "k")
        assert ask(place, path, context) == b"", whose
    assert ask(place, path, trusting(sides)) == b"", "none"
    assert ask(place, path, None) == b"", "plain HTTP"


def read_pair(folder: Path, stem: str) -> tuple[str, str]:
    return (folder / f"{stem}.crt").read_text(), (folder / f"{stem}.key").read_text()


def trusting(sides: Sides) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(sides.paths.tls / "internal-ca.crt"))
    return context


def ask(place: tuple[str, int], path: str, context: ssl.SSLContext | None) -> bytes:
    """What comes back to a request; nothing where the connection is refused on the way."""
    try:
        with socket.create_connection(place, timeout=10) as link:
            secure = link if context is None else context.wrap_socket(link, server_hostname=place[0])
            with secure:
                secure.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                return b"".join(iter(lambda: secure.recv(4096), b""))
    except (ssl.SSLError, ConnectionError):
        return b""


def test_the_proxys_side_has_no_authoritys_key_and_no_other_secret(sides: Sides) -> None:
    state = sides.proxy_paths.root
    files = {path for path in state.rglob("*") if path.is_file()}
    secrets = {path.name: path.read_bytes().strip() for path in (sides.keys / "hub").iterdir() if path.suffix != ".crt"}
    known = {name for name, secret in secrets.items() if any(secret in path.read_bytes() for path in files)}
    assert known == {"proxy-token"}
    private = {str(path.relative_to(state)) for path in files if b"PRIVATE KEY" in path.read_bytes()}
    assert private == {"tls/entry.key", "tls/front.key", "tls/proxy-api.key"}
    for root in (sides.paths.root, state):
        for path in (root, *root.rglob("*")):
            assert path.is_socket() or path.stat().st_mode & 0o077 == 0, path


def test_hub_and_service_listen_on_loopback_alone(sides: Sides) -> None:
    assert sides.run("hub", "jobs").returncode == 0, "what administrators run beside them"
    for name in ("hub", "service"):
        assert listening(sides.processes[name].pid) == {"127.0.0.1"}, name
    assert listening(sides.processes["proxy"].pid) == {sides.api[0]}


def listening(pid: int) -> set[str]:
    import psutil

    found = psutil.Process(pid).net_connections("tcp")
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


def test_a_service_that_is_away_is_told_by_the_hubs_page(sides: Sides) -> None:
    sides.kill("service")
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{sides.url}/services/sampan/", context=sides.trust, timeout=10)
        assert refused.value.code == 503
        assert b"Sampan" in refused.value.read()
        refused.value.close()
        sides.kill("service-entry")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{sides.url}/services/sampan/", context=sides.trust, timeout=10)
        assert refused.value.code == 503
        assert b"Sampan" in refused.value.read(), "also where its entry is away, too"
        refused.value.close()
    finally:
        sides.start("service", "service-entry")


def test_the_check_knows_of_both_sides(sides: Sides) -> None:
    done = sides.run("hub", "check", "--wait", "60")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "no findings"), done.stdout
    sides.kill("proxy", "service-entry")
    try:
        said = sides.run("hub", "check").stdout
        host, port = sides.api
        assert f"the proxy does not answer at https://{host}:{port}: " in said
        assert "see `kubectl logs deploy/proxy -c proxy`" in said
        assert "the service-entry does not run\n   Remedy: its container is started again by itself" in said
        assert "2 findings" in said
    finally:
        sides.start("proxy", "service-entry")


def test_one_of_a_kind_runs_on_a_side(sides: Sides) -> None:
    again = sides.run("hub", "run", "hub")
    assert again.returncode == 1
    assert "The hub runs here already" in again.stderr
    up = sides.run("hub", "up")
    assert up.returncode == 1
    assert "`sampan run" in up.stderr
