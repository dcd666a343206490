"""Proxy and hub in places of their own: nothing but certificates lets them in at each other, and each can go alone."""

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
from sampan_hub.trust.authority import Usage, certificate_pem, key_pem, make_authority_certificate, make_key
from sampan_hub.trust.front import open_front
from tests.support.kernels import Kernel, _collect, _execute_request
from tests.support.places import HUB_PLACE, Places
from tests.system.hub_fixtures import Hub, Site, until

LAYOUT_SETTINGS = "backends: {local: {kind: local, cores: 4, memory: 4G}}\nsizes: {small: {cores: 1, memory: 1G}}\n"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    made = Places(tmp_path_factory.mktemp("places"), LAYOUT_SETTINGS)
    try:
        made.fill()
        made.start("proxy", *HUB_PLACE)
        yield made
    finally:
        made.stop()


def hub_at(places: Places) -> Hub:
    """The REST clients of other tests, which ask no more of a site than what places have."""
    return Hub(cast(Site, places), "ana")


async def ready_notebook(hub: Hub) -> dict[str, Any]:
    if not await hub.server():
        await hub.call("POST", f"/users/{hub.name}")
        await hub.start()
    await until(hub.is_ready, "the server is ready", 60)
    (job,) = await hub.jobs()
    return job


async def start_kernel(hub: Hub) -> Kernel:
    token = (await hub.call("POST", f"/users/{hub.name}/tokens", {"expires_in": 600}))[1]["token"]
    return await Kernel.start(hub.session, f"{hub.site.url}/user/{hub.name}", token)


@pytest.mark.timeout(180)
async def test_people_work_through_both_and_the_hub_can_be_replaced_under_them(places: Places) -> None:
    async with hub_at(places) as hub:
        before = await ready_notebook(hub)
        kernel = await start_kernel(hub)
        proxy, routes = places.processes["proxy"].pid, await hub.routes()
        async with kernel._channels() as channels:
            assert (await count(channels)) == "1"
            places.kill(*HUB_PLACE)
            assert (await count(channels)) == "2", "while there is no hub"
            places.start(*HUB_PLACE)
            await until(hub.is_ready, "the hub knows the server again", 30)
            assert (await count(channels)) == "3", "the very websocket"
        assert (await ready_notebook(hub))["id"] == before["id"]
        assert await hub.answers()
        assert await hub.routes() == routes
    assert places.processes["proxy"].pid == proxy
    assert "Updating route" not in places.log("hub"), "it knows its own routes again"
    assert "missing route" not in places.log("hub").split("Running JupyterHub")[-1]


async def count(channels: Any) -> str:
    """One more, in the kernel's own memory."""
    message_id = uuid.uuid4().hex
    code = "number = globals().get('number', 0) + 1; number"
    await channels.send_str(json.dumps(_execute_request(code, message_id)))
    return (await asyncio.wait_for(_collect(channels, message_id), 30)).checked().value


async def test_the_proxys_targets_name_who_answers(places: Places) -> None:
    targets = await asyncio.to_thread(read_targets, places)
    host, port = places.entries["hub-entry"]
    assert targets["/"] == f"https://hub@{host}:{port}"
    host, port = places.entries["service-entry"]
    assert targets["/services/sampan"] == f"https://service@{host}:{port}"


def read_targets(places: Places) -> dict[str, str]:
    token = (places.proxy_paths.keys / "proxy-token").read_text().strip()
    url = f"https://{places.api[0]}:{places.api[1]}/api/routes"
    asked = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(asked, context=places.front, timeout=10) as answer:
        return {path: route["target"] for path, route in json.load(answer).items()}


@pytest.mark.parametrize("door", ["api", "hub-entry", "service-entry"])
def test_only_the_fronts_certificate_opens(places: Places, tmp_path: Path, door: str) -> None:
    place = places.api if door == "api" else places.entries[door]
    path = "/api/routes" if door == "api" else "/hub/health"
    assert b"HTTP/1.1" in ask(place, path, places.front), "the front is let in"
    job = open_front(places.paths.tls, datetime.now(UTC)).issue(
        "aaaaaaaa.bbbbbbbbbbbbbbbb", {place[0]}, datetime.now(UTC)
    )
    key = make_key()
    stranger = certificate_pem(make_authority_certificate(key, "Sampan front", Usage.CLIENT, datetime.now(UTC)))
    pairs = {
        "a notebook's": (job.certificate, job.key),
        "one that calls itself so": (stranger.decode(), key_pem(key).decode()),
        "the entry's": read_pair(places.proxy_paths.tls, "entry"),
        "the proxy's API's": read_pair(places.proxy_paths.tls, PROXY_API),
    }
    for whose, (certificate, private) in pairs.items():
        context = trusting(places)
        (tmp_path / "c").write_text(certificate)
        (tmp_path / "k").write_text(private)
        context.load_cert_chain(tmp_path / "c", tmp_path / "k")
        assert ask(place, path, context) == b"", whose
    assert ask(place, path, trusting(places)) == b"", "none"
    assert ask(place, path, None) == b"", "plain HTTP"


def read_pair(folder: Path, stem: str) -> tuple[str, str]:
    return (folder / f"{stem}.crt").read_text(), (folder / f"{stem}.key").read_text()


def trusting(places: Places) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(places.paths.tls / "internal-ca.crt"))
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


def test_the_proxys_place_has_no_authoritys_key_and_no_other_secret(places: Places) -> None:
    state = places.proxy_paths.root
    files = {path for path in state.rglob("*") if path.is_file()}
    secrets = {
        path.name: path.read_bytes().strip() for path in (places.keys / "hub").iterdir() if path.suffix != ".crt"
    }
    known = {name for name, secret in secrets.items() if any(secret in path.read_bytes() for path in files)}
    assert known == {"proxy-token"}
    private = {str(path.relative_to(state)) for path in files if b"PRIVATE KEY" in path.read_bytes()}
    assert private == {"tls/entry.key", "tls/front.key", "tls/proxy-api.key"}
    for place in (places.paths.root, state):
        for path in (place, *place.rglob("*")):
            assert path.is_socket() or path.stat().st_mode & 0o077 == 0 or "run" in path.parts, path


def test_hub_and_service_listen_on_loopback_alone(places: Places) -> None:
    assert places.run("hub", "jobs").returncode == 0, "what administrators run beside them"
    for name in ("hub", "service"):
        assert listening(places.processes[name].pid) == {"127.0.0.1"}, name
    assert listening(places.processes["proxy"].pid) == {places.api[0]}


def listening(pid: int) -> set[str]:
    import psutil

    found = psutil.Process(pid).net_connections("tcp")
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


def test_a_service_that_is_away_is_told_by_the_hubs_page(places: Places) -> None:
    places.kill("service")
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{places.url}/services/sampan/", context=places.trust, timeout=10)
        assert refused.value.code == 503
        assert b"Sampan" in refused.value.read()
        refused.value.close()
        places.kill("service-entry")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{places.url}/services/sampan/", context=places.trust, timeout=10)
        assert refused.value.code == 503
        assert b"Sampan" in refused.value.read(), "also where its entry is away, too"
        refused.value.close()
    finally:
        places.start("service", "service-entry")


def test_one_of_a_kind_runs_in_a_place(places: Places) -> None:
    again = places.run("hub", "run", "hub")
    assert again.returncode == 1
    assert "The hub runs here already" in again.stderr
    up = places.run("hub", "up")
    assert up.returncode == 1
    assert "`sampan run" in up.stderr


def test_what_is_not_filled_is_not_made_up(tmp_path: Path) -> None:
    places = Places(tmp_path / "places")
    for place, name in (("proxy", "proxy"), ("hub", "hub"), ("hub", "service"), ("hub", "service-entry")):
        done = places.run(place, "run", name)
        assert done.returncode == 1
        assert f"is missing: run `sampan kubernetes state {place} --from FOLDER` first" in done.stderr
    (places.keys / "proxy" / "internal-ca.key").unlink()
    done = places.run("proxy", "kubernetes", "state", "proxy", "--from", str(places.keys / "proxy"))
    assert done.returncode == 1
    assert "internal-ca.key cannot be read: No such file" in done.stderr
