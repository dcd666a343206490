"""`sampan up` where something is in the way: a full disk, a process that cannot start, people who may not share."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from tests.support.installation import SAMPAN, Installation, wait_until
from tests.support.kernels import Kernel
from tests.support.outside import list_processes
from tests.support.small_disk import may_mount, run_as_namespace_root, small_disk
from tests.system.test_hub_tls import make_certificate

ME = getpass.getuser()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "site")
    try:
        yield installation
    finally:
        installation.stop()


def refused(site: Installation) -> str:
    """The one sentence with which `sampan up` does not start."""
    done = site.run("up", check=False)
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.strip().splitlines()
    return line


def start_server(site: Installation) -> str:
    """My ready server; my token."""
    token = site.token(ME)
    status, body = site.call("POST", f"/hub/api/users/{ME}/server", token, {})
    assert status in (201, 202), body
    wait_until(lambda: site.call("GET", f"/user/{ME}/api/status", token)[0] == 200, 60, "the server answers")
    return token


async def start_busy_kernel(site: Installation, token: str) -> None:
    """One kernel that computes until it is ended."""
    async with aiohttp.ClientSession() as session:
        kernel = await Kernel.start(session, f"{site.url}/user/{ME}", token)
        with pytest.raises(TimeoutError):
            await kernel.execute("while True: pass", timeout_s=5)


async def test_the_end_of_a_laptop_counts_the_kernels_that_compute(site: Installation) -> None:
    site.start()
    await start_busy_kernel(site, await asyncio.to_thread(start_server, site))
    assert site.up is not None
    site.up.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(site.up.wait, 30) == 0
    assert "1 notebook (1 busy kernel), 0 other jobs; stopping" in site.printed.read_text()
    assert list_processes(f"{site.instance}.") == {}


def test_a_second_ctrl_c_ends_at_once(site: Installation) -> None:
    site.start()
    start_server(site)
    (notebook,) = [pid for pid, words in list_processes(f"{site.instance}.").items() if "sampan.notebook" in words][:1]
    os.kill(notebook, signal.SIGSTOP)  # it will not end when it is asked to
    try:
        assert site.up is not None
        site.up.send_signal(signal.SIGINT)
        wait_until(lambda: "Ctrl-C again" in site.printed.read_text(), 10, "the offer of a second Ctrl-C")
        begun_s = time.monotonic()
        site.up.send_signal(signal.SIGINT)
        assert site.up.wait(10) == 130
        assert time.monotonic() - begun_s < 3
    finally:
        os.kill(notebook, signal.SIGCONT)


def test_a_process_that_cannot_start_is_told_once_with_the_end_of_its_log(site: Installation) -> None:
    site.state.mkdir(mode=0o700)
    (site.state / "sampan.sqlite").write_bytes(b"this is no database" * 1000)
    with site.printed.open("wb") as output:
        site.up = subprocess.Popen(
            [SAMPAN, "up"], cwd=site.folder, env=site.environment, stdout=output, stderr=output, start_new_session=True
        )
    wait_until(lambda: "keeps ending" in site.printed.read_text(), 60, "the crash loop is told")
    said = site.printed.read_text()
    assert said.count("service keeps ending") == 1
    assert "not a database" in said.partition("The last lines of")[2]
    assert "hub ready" in said
    (site.state / "sampan.sqlite").unlink()
    wait_until(lambda: "token=" in site.printed.read_text(), 60, "it recovers by itself")


def test_people_who_came_keep_a_laptop_from_starting_as_if_for_one(site: Installation) -> None:
    site.state.mkdir(mode=0o700)
    with closing(sqlite3.connect(site.state / "hub.sqlite")) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
        connection.executemany("INSERT INTO users VALUES (?)", [(ME,), ("ana",)])
        connection.commit()
    said = refused(site)
    assert "isolation: none" in said
    assert "ana" in said
    assert (site.state / "hub.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", ["20m", "1m"])
def test_a_full_disk_is_one_sentence(site: Installation, size: str, request: pytest.FixtureRequest) -> None:
    if not may_mount():
        run_as_namespace_root(request.node.nodeid)
        return
    with small_disk(site.state, size):
        assert re.search(r"The disk of \S+ is full \(\d+ MiB left\): make room, or move `state_dir`", refused(site))


@pytest.mark.timeout(180)
async def test_tls_under_a_path_serves_link_notebook_and_cluster(site: Installation) -> None:
    make_certificate(site.folder)
    settings = site.folder / "sampan.yaml"
    url = f"https://localhost:{site.port}/wing"
    tls = "tls: {certificate: certificate.pem, key: key.pem}\n"
    settings.write_text(settings.read_text().replace(f"{site.url}/", f"{url}/") + tls)
    site.start()
    token = site.token(ME)
    link = re.findall(rf"{url}/hub/link\?token=\S+", site.printed.read_text())[0]
    trust = ssl.create_default_context(cafile=str(site.folder / "certificate.pem"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as person:
        async with person.get(link) as answer:
            assert answer.status == 200
            assert answer.url.path.startswith("/wing/")
        async with person.get(f"{url}/services/sampan/") as answer:
            assert (answer.status, answer.url.path) == (200, "/wing/services/sampan/work")
    headers = {"Authorization": f"token {token}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), headers=headers) as session:
        await session.post(f"{url}/hub/api/users/{ME}/server", json={})
        async with asyncio.timeout(60):
            while (await session.get(f"{url}/user/{ME}/api/status")).status != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        kernel = await Kernel.start(session, f"{url}/user/{ME}", token)
        code = "from sampan import Cluster\nwith Cluster(1) as c: print(c.get_client().submit(sum, [1, 2]).result())"
        assert (await kernel.execute(code)).checked().text.strip() == "3"
    assert site.up is not None
    site.up.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(site.up.wait, 30) == 0
    assert "1 notebook (0 busy kernels)" in site.printed.read_text()


@pytest.mark.timeout(180)
def test_a_disk_that_fills_up_loses_nothing_and_recovers(site: Installation, request: pytest.FixtureRequest) -> None:
    if not may_mount():
        run_as_namespace_root(request.node.nodeid)
        return
    with small_disk(site.state, "80m") as disk:
        site.start()
        token = start_server(site)
        (disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(disk).free - 4096))
        with (disk / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"x" * 512)
        status, body = site.call("POST", f"/hub/api/users/{ME}/servers/second", token, {})
        assert status >= 500, body
        assert f"0 MiB are free on the disk of {site.state}" in site.run("check", check=False).stdout
        assert site.call("GET", f"/user/{ME}/api/status", token)[0] == 200
        (disk / "ballast").unlink()
        wait_until(lambda: site.call("GET", "/services/sampan/readyz", token)[0] == 200, 30, "the service is ready")
        status, body = site.call("POST", f"/hub/api/users/{ME}/servers/second", token, {})
        assert status in (201, 202), body
        wait_until(lambda: site.call("GET", f"/user/{ME}/second/api/status", token)[0] == 200, 60, "another server")
        site.stop()
