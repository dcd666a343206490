"""A notebook on an address that other machines reach: TLS on every way to it, and nobody but the front gets in."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.trust.authority import Usage, certificate_pem, make_authority_certificate, make_key
from sampan_hub.trust.front import Handed, open_front
from tests.support.crossing_site import CrossingSite
from tests.support.kernels import Kernel
from tests.support.notebook_service import BOOTSTRAP, JOB
from tests.support.notebooks import Notebook
from tests.system.hub_fixtures import Hub, until

CLUSTER = """
from sampan import Cluster
with Cluster(workers=1, backend={backend!r}) as cluster, cluster.get_client() as client:
    answer = client.submit(sum, [20, 22]).result(60)
    print(cluster.scheduler_address, *client.scheduler_info()["workers"], answer)
"""
SERVICE = "from sampan._api import read_session; print(read_session().connect().call('GET', '/whoami')['owner'])"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossingSite]:
    site = CrossingSite(tmp_path_factory.mktemp("crossing"))
    try:
        site.start("proxy", "service", "hub")
        yield site
    finally:
        site.stop()
        site.end_jobs()


async def ready_notebook(hub: Hub) -> dict[str, Any]:
    """The notebook's job, started far away if it is not there."""
    if not await hub.server():
        await hub.start({"backend": "far"})
    await until(hub.is_ready, f"the server is ready; service: {hub.site.log('service')[-2000:]}", 60)
    (job,) = await hub.jobs()
    return job


async def end_server(hub: Hub) -> None:
    async def is_gone() -> bool:
        return not await hub.server() and not await hub.jobs()

    await hub.stop()
    await until(is_gone, "the server is gone", 30)


async def start_kernel(site: CrossingSite, hub: Hub) -> Kernel:
    token = (await hub.call("POST", f"/users/{hub.name}/tokens", {"expires_in": 600}))[1]["token"]
    return await Kernel.start(hub.session, f"{site.url}/user/{hub.name}", token)


async def compute(kernel: Kernel, backend: str | None) -> list[tuple[str, int]]:
    """Where the scheduler and the worker of a cluster on this backend listen, once it has computed something."""
    said = (await kernel.execute(CLUSTER.format(backend=backend), 120)).checked().text.split()[-3:]
    assert said.pop() == "42"
    parts = [address.removeprefix("tls://").rpartition(":") for address in said]
    return [(host, int(port)) for host, _, port in parts]


@pytest.mark.timeout(180)
async def test_kernels_answer_through_the_entry(site: CrossingSite) -> None:
    async with Hub(site) as hub:
        job = await ready_notebook(hub)
        assert job["address"]["scheme"] == "https"
        assert job["address"]["host"] == site.address
        assert job["address"]["port"] in site.job_ports
        assert await hub.answers()
        kernel = await start_kernel(site, hub)
        assert (await kernel.execute(SERVICE)).checked().text.strip() == hub.name
        for place in await compute(kernel, None):
            assert (place[0], place[1] in site.job_ports) == (site.address, True), place


@pytest.mark.timeout(240)
async def test_workers_on_another_backend_reach_the_scheduler(site: CrossingSite) -> None:
    async with Hub(site) as hub:
        await ready_notebook(hub)
        kernel = await start_kernel(site, hub)
        scheduler, worker = await compute(kernel, "beside")
        assert (scheduler[0], scheduler[1] in site.job_ports, worker[0]) == (site.address, True, site.address)
        await end_server(hub)
        await hub.start({"backend": "beside"})
        job = await ready_notebook(hub)
        assert (job["backend"], job["address"]["host"]) == ("beside", "127.0.0.1")
        kernel = await start_kernel(site, hub)
        for place in await compute(kernel, "far"):
            assert (place[0], place[1] in site.job_ports) == (site.address, True), place
        for place in await compute(kernel, None):
            assert place[0] == "127.0.0.1"
        await end_server(hub)


@pytest.mark.timeout(120)
async def test_a_restarted_hub_finds_it_over_tls(site: CrossingSite) -> None:
    async with Hub(site) as hub:
        before = await ready_notebook(hub)
        site.kill("hub")
        site.start("hub")
        await until(hub.is_ready, "the server is found again", 30)
        (route,) = [target for target in await raw_targets(site, hub) if before["id"] in target]
        assert route == f"https://{before['id']}@{before['address']['host']}:{before['address']['port']}"
        assert (await ready_notebook(hub))["id"] == before["id"]
        assert await hub.answers()
        assert "Updating route" not in site.log("hub"), "it knows its own routes again"


@pytest.mark.timeout(120)
async def test_nobody_else_gets_a_word_out_of_it(site: CrossingSite, tmp_path: Path) -> None:
    async with Hub(site) as hub:
        job = await ready_notebook(hub)
    front = open_front(site.paths.tls, datetime.now(UTC))
    place = (job["address"]["host"], job["address"]["port"])
    stranger = front.issue("aaaaaaaa.bbbbbbbbbbbbbbbb", {site.address}, datetime.now(UTC))
    assert b"HTTP/1.1" in await asyncio.to_thread(ask, place, front.make_context()), "the front is let in"
    assert await asyncio.to_thread(ask, place, bare_context(site)) == b""
    assert await asyncio.to_thread(ask, place, with_certificate(site, stranger, tmp_path)) == b""
    assert await asyncio.to_thread(ask, place, None) == b"", "plain HTTP"
    assert await front.proves_job(*place, job["id"])
    assert not await front.proves_job(*place, "aaaaaaaa.bbbbbbbbbbbbbbbb")


@pytest.mark.parametrize(
    ("names", "job", "status"),
    [
        ({"ADDRESS"}, JOB, 200),
        ({"ADDRESS"}, "aaaaaaaa.cccccccccccccccc", 503),
        ({"ADDRESS"}, "", 503),
        ({"localhost"}, JOB, 503),
        ({"192.0.2.77"}, JOB, 503),
    ],
    ids=["its own job", "another job", "no job", "the browser's name", "another address"],
)
async def test_the_proxy_asks_for_the_job_of_the_route_at_its_address(
    site: CrossingSite, tmp_path: Path, names: set[str], job: str, status: int
) -> None:
    front = open_front(site.paths.tls, datetime.now(UTC))
    named = {site.address if name == "ADDRESS" else name for name in names}
    with serving(front.issue(JOB, named, datetime.now(UTC)), site.address, tmp_path) as port:
        async with Hub(site) as hub:
            await add_route(site, hub, f"https://{job + '@' if job else ''}{site.address}:{port}")
            async with hub.session.get(f"{site.url}/probe/") as answer:
                assert answer.status == status


@pytest.mark.timeout(120)
async def test_requests_at_once_are_each_held_against_their_own_route(site: CrossingSite, tmp_path: Path) -> None:
    """The proxy has one object for what it asks of all of them, and fills it anew while others still shake hands."""
    front, hosts = open_front(site.paths.tls, datetime.now(UTC)), {"a": site.address, "b": "127.0.0.1"}
    with ExitStack() as servers:
        async with Hub(site) as hub:
            for name, host in hosts.items():
                job, folder = f"aaaaaaaa.{name * 16}", tmp_path / name
                folder.mkdir()
                port = servers.enter_context(serving(front.issue(job, {host}, datetime.now(UTC)), host, folder))
                await add_route(site, hub, f"https://{job}@{host}:{port}", f"probe-{name}")
            urls = [f"{site.url}/probe-{name}/" for name in hosts] * 20
            answers = await asyncio.gather(*(hub.session.get(url) for url in urls))
            assert {answer.status for answer in answers} == {200}


def test_a_job_believes_its_own_installation_alone(site: CrossingSite, tmp_path: Path) -> None:
    key = make_key()
    other = certificate_pem(make_authority_certificate(key, "Sampan elsewhere", Usage.SERVER, datetime.now(UTC)))
    for ca, sentence in ((other.decode(), "is not the compute service"), (site.ca.read_text(), "was not made by")):
        folder = tmp_path / sentence.replace(" ", "-")
        notebook = Notebook(folder, f"{site.url}/services/sampan")
        bootstrap = {"service": f"{site.url}/services/sampan", "job": JOB, "credential": BOOTSTRAP, "ca": ca}
        (notebook.private / "bootstrap.json").write_text(json.dumps(bootstrap))
        notebook.start()
        assert notebook.wait(30) == 1
        assert sentence in notebook.output


# How others knock


def bare_context(site: CrossingSite) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(site.paths.tls / "jobs-ca.crt"))
    return context


def with_certificate(site: CrossingSite, handed: Handed, folder: Path) -> ssl.SSLContext:
    context = bare_context(site)
    context.load_cert_chain(*write_pair(handed, folder))
    return context


def write_pair(handed: Handed, folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "shown.crt", folder / "shown.key"
    certificate.write_text(handed.certificate)
    key.write_text(handed.key)
    return certificate, key


def ask(place: tuple[str, int], context: ssl.SSLContext | None) -> bytes:
    """What comes back to a request; nothing where the connection is refused on the way."""
    try:
        with socket.create_connection(place, timeout=10) as link:
            secure = link if context is None else context.wrap_socket(link, server_hostname=place[0])
            with secure:
                secure.sendall(b"GET /api HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: secure.recv(4096), b""))
    except (ssl.SSLError, ConnectionError):
        return b""


@contextmanager
def serving(handed: Handed, host: str, folder: Path) -> Iterator[int]:
    """A TLS server with that certificate, which answers 200 to everybody; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_pair(handed, folder))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                link, _ = listener.accept()
            except TimeoutError:
                continue
            try:
                with context.wrap_socket(link, server_side=True) as secure:
                    secure.recv(4096)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                continue

    with socket.create_server((host, 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


async def raw_targets(site: CrossingSite, hub: Hub) -> list[str]:
    """Where the proxy's own routes lead."""
    token = site._environment()["CONFIGPROXY_AUTH_TOKEN"]
    url = f"http://127.0.0.1:{site.ports['proxy_api']}/api/routes"
    async with hub.session.get(url, headers={"Authorization": f"token {token}"}) as answer:
        return [route["target"] for route in (await answer.json()).values()]


async def add_route(site: CrossingSite, hub: Hub, target: str, name: str = "probe") -> None:
    token = site._environment()["CONFIGPROXY_AUTH_TOKEN"]
    url = f"http://127.0.0.1:{site.ports['proxy_api']}/api/routes/{name}"
    async with hub.session.post(url, json={"target": target}, headers={"Authorization": f"token {token}"}) as answer:
        assert answer.status == 201, await answer.text()
