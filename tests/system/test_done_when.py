"""When the spine is done, seen from outside alone: JupyterHub's REST API, kernel messages, `ps` and `ss`.

(a) one link, 127.0.0.1 alone · (b) a wrong option starts nothing · (c) four workers in the first cell, soon ·
(d) a killed kernel's cluster and its data are found again · (f) after the stop nothing is left.
Elsewhere: (e) sixty kills in five minutes is `test_chaos`, (g) the totals of the flights `test_examples`.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.installation import Installation, wait_until
from tests.support.kernels import Kernel
from tests.support.outside import list_listeners, list_processes

ME = getpass.getuser()
SERVER = f"/hub/api/users/{ME}/server"
FIRST_RESULT_S = 10.0
FIRST_CELL = """
import os
from sampan import Cluster
cluster = Cluster(4)
client = cluster.get_client()
client.wait_for_workers(4)
print(os.getpid(), *client.run(os.getpid).values())
"""
PUBLISH = "client.publish_dataset(kept=client.persist(__import__('dask').delayed(sum)(range(100))))"
ATTACH = """
from sampan import Cluster
client = Cluster.attach().get_client()
print(client.get_dataset("kept").compute())
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "site")
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


def own_listeners(site: Installation) -> set[tuple[str, int]]:
    """Where the processes of this installation, jobs among them, listen."""
    pids = {*list_processes(str(site.folder)), *list_processes(f"{site.instance}.")}
    return {(listener.host, listener.port) for listener in list_listeners() if listener.pid in pids}


def jobs(site: Installation) -> dict[int, str]:
    """The processes that carry a job's key of this installation."""
    return list_processes(f"{site.instance}.")


def server_of(site: Installation, token: str) -> dict[str, Any]:
    """JupyterHub's own word on the default server; empty when there is none."""
    status, user = site.call("GET", f"/hub/api/users/{ME}", token)
    assert status == 200, user
    return dict(user["servers"].get("", {}))


@pytest.mark.timeout(240)
async def test_from_one_link_to_nothing_left(site: Installation) -> None:
    assert len(re.findall(r"\w+://", site.printed.read_text())) == 1
    assert {host for host, _ in own_listeners(site)} == {"127.0.0.1"}
    assert ("127.0.0.1", site.port) in own_listeners(site)
    token = site.token(ME)
    await asyncio.to_thread(refuse_what_is_wrong, site, token)
    before = own_listeners(site)

    status, body = await asyncio.to_thread(site.call, "POST", SERVER, token, {})
    assert status in (201, 202), body
    await asyncio.to_thread(wait_until, lambda: server_of(site, token).get("ready"), 60, "the server is ready")
    async with aiohttp.ClientSession() as session:
        await use_a_cluster(session, f"{site.url}/user/{ME}", token)
    assert {host for host, _ in own_listeners(site)} == {"127.0.0.1"}

    status, _ = await asyncio.to_thread(site.call, "DELETE", SERVER, token)
    assert status in (202, 204)
    await asyncio.to_thread(wait_until, lambda: not server_of(site, token), 60, "the server is stopped")
    await asyncio.to_thread(wait_until, lambda: not jobs(site), 30, "no process carries a job's key")
    assert own_listeners(site) == before

    assert site.up is not None
    site.up.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(site.up.wait, 30) == 0
    assert not {listener.port for listener in list_listeners()} & {port for _, port in before}
    assert list_processes(str(site.folder)) == {}


def refuse_what_is_wrong(site: Installation, token: str) -> None:
    """(b): each wrong body is a 400 that names the field and what is allowed, and starts nothing."""
    wrong = {"size": "nope", "cmd": ["id"], "env": {"A": "1"}}
    for field, value in wrong.items():
        status, body = site.call("POST", SERVER, token, {field: value})
        assert status == 400, body
        assert field in body["message"]
        assert "small" in body["message"] if field == "size" else "size" in body["message"]
    assert jobs(site) == {}
    assert server_of(site, token) == {}


async def use_a_cluster(session: aiohttp.ClientSession, base: str, token: str) -> None:
    """(c) and (d), through kernels alone."""
    ready_s = time.monotonic()
    kernel = await Kernel.start(session, base, token)
    said = (await kernel.execute(FIRST_CELL)).checked().text
    elapsed_s = time.monotonic() - ready_s
    own, *workers = (int(pid) for pid in said.split())
    assert len({*workers} - {own}) == 4
    assert elapsed_s <= FIRST_RESULT_S, f"the first cell's result came after {elapsed_s:.1f} s"
    (await kernel.execute(PUBLISH)).checked()
    os.kill(own, signal.SIGKILL)
    second = await Kernel.start(session, base, token)
    assert (await second.execute(ATTACH)).checked().text.split() == ["4950"]
