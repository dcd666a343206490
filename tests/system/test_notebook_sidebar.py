"""JupyterLab's Dask sidebar on a real server: start, scale, adapt, drag into a notebook, watch, stop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import aiohttp
import psutil
import pytest

from tests.judge.processes import processes_with_key
from tests.support.installation import wait_until
from tests.support.kernels import Kernel
from tests.support.servers import Server, running_server

SCORES = """
from sampan._api import read_session
from sampan.rundir import live_hosts
(_, host), = live_hosts(read_session())
print(*(int(open(f"/proc/{pid}/oom_score_adj").read()) for pid in (host["pid"], "self")))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("sidebar")) as running:
        yield running


async def model_with(server: Server, **wanted: Any) -> dict[str, Any]:
    """The one cluster, once it shows these values."""

    def look() -> dict[str, Any] | None:
        models = server.clusters()
        return models[0] if models and wanted.items() <= models[0].items() else None

    found: dict[str, Any] = await asyncio.to_thread(wait_until, look, 40, f"the sidebar shows {wanted}")
    return found


@pytest.mark.timeout(300)
async def test_a_cluster_from_the_sidebar(server: Server) -> None:
    assert server.clusters() == []
    status, model = server.call("PUT", "/dask/clusters")
    assert status == 200, model
    path = f"/dask/clusters/{model['id']}"
    await model_with(server, adapt={"minimum": 0, "maximum": model["adapt"]["maximum"]})

    assert server.call("PATCH", path, {"workers": 2})[0] == 200
    model = await model_with(server, workers=2)
    assert "adapt" not in model
    assert model["cores"] >= 2
    workers = [p for p in processes_with_key(server.installation.instance) if p.entry == "worker"]
    assert len({process.job_id for process in workers}) == 2

    async with aiohttp.ClientSession() as http:
        await use_from_a_kernel(http, server, model)
        await watch_the_dashboard(http, server, model)

    assert server.call("PATCH", path, {"adapt": {"minimum": 0, "maximum": 3}})[0] == 200
    await model_with(server, adapt={"minimum": 0, "maximum": 3})
    assert server.call("PATCH", path, {"adapt": {"minimum": 3, "maximum": 0}})[0] == 400
    assert server.call("DELETE", path)[0] == 204
    await asyncio.to_thread(wait_until, lambda: server.clusters() == [], 30, "the sidebar is empty")
    gone = [psutil.Process(p.pid) for p in workers if psutil.pid_exists(p.pid)]
    await asyncio.to_thread(wait_until, lambda: not any(p.is_running() for p in gone), 20, "its workers are gone")
    assert server.call("DELETE", path)[0] == 404


async def use_from_a_kernel(http: aiohttp.ClientSession, server: Server, model: dict[str, Any]) -> None:
    """The lines that the sidebar writes into a notebook, which name no key, and Sampan's own."""
    kernel = await Kernel.start(http, server.url, server.token)
    code = f'from dask.distributed import Client\n\nclient = Client("{model["scheduler_address"]}")\n'
    assert (await kernel.execute(code + "client.submit(sum, [3, 4]).result()")).checked().value == "7"
    code = f"from sampan import Cluster\nCluster.attach('{model['name']}').get_client().submit(sum, [4, 4]).result()"
    assert (await kernel.execute(code)).checked().value == "8"
    host, own = map(int, (await kernel.execute(SCORES)).checked().text.split())
    assert host < own, "when memory runs out, the scheduler outlives the kernel"


async def watch_the_dashboard(http: aiohttp.ClientSession, server: Server, model: dict[str, Any]) -> None:
    """Plots, a page and its websocket, by both addresses; nothing without a login."""
    headers = {"Authorization": f"token {server.token}"}
    for base in (f"{server.url}/dask/dashboard/{model['id']}", f"{server.url}/sampan/{model['name']}"):
        async with http.get(f"{base}/individual-plots.json", headers=headers) as answer:
            assert len(await answer.json()) > 20
        async with http.get(f"{base}/status", headers=headers) as answer:
            assert answer.status == 200
            token = re.search(r'"token":"([^"]+)"', await answer.text())
        assert token is not None
        async with http.ws_connect(f"{base}/status/ws", headers=headers, protocols=["bokeh", token[1]]) as socket:
            first = [(await socket.receive(timeout=20)).data for _ in range(3)]
            assert "ACK" in first[0]
        async with http.get(f"{base}/status", allow_redirects=False) as answer:
            assert answer.status in (302, 403)
