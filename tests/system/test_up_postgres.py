"""The whole installation on a real PostgreSQL: both databases, a notebook, a cluster, a killed service, the end."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests import postgres
from tests.support.installation import Installation, wait_until
from tests.support.kernels import Kernel
from tests.support.outside import list_processes

ME = getpass.getuser()
CLUSTER = """
from sampan import Cluster
cluster = Cluster(2)
client = cluster.get_client()
print(client.submit(sum, [1, 2]).result())
"""
GROW = """
cluster.scale(3)
client.wait_for_workers(3)
print(client.submit(sum, [3, 4], pure=False).result())
"""


@pytest.mark.timeout(240)
async def test_everything_on_postgresql(tmp_path: Path) -> None:
    with postgres.running_server() as server:
        urls = f"database: '{server.make_database()}'\nhub_database: '{server.make_database()}'\n"
        installation = Installation(tmp_path / "site", urls)
        try:
            await asyncio.to_thread(installation.start)
            await use(installation)
            assert not (installation.state / "sampan.sqlite").exists()
            assert not (installation.state / "hub.sqlite").exists()
        finally:
            installation.stop()
        assert list_processes(f"{installation.instance}.") == {}


async def use(site: Installation) -> None:
    token = await asyncio.to_thread(site.token, ME)
    call = partial(asyncio.to_thread, site.call)
    status, body = await call("POST", f"/hub/api/users/{ME}/server", token, {})
    assert status in (201, 202), body

    def is_ready() -> bool:
        return site.call("GET", f"/user/{ME}/api/status", token)[0] == 200

    await asyncio.to_thread(wait_until, is_ready, 60, "the server answers")
    async with aiohttp.ClientSession() as session:
        kernel = await Kernel.start(session, f"{site.url}/user/{ME}", token)
        assert (await kernel.execute(CLUSTER)).checked().text.strip() == "3"
        killed = site.process("service")
        os.kill(killed, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: site.process("service") != killed, 30, "another service")
        assert (await kernel.execute(GROW)).checked().text.strip() == "7"
    assert (await call("DELETE", f"/hub/api/users/{ME}/server", token))[0] in (202, 204)
    await asyncio.to_thread(wait_until, lambda: not list_processes(f"{site.instance}."), 60, "nothing runs any more")
