"""A hundred pods asked for at once, on simulated nodes: how a side answers meanwhile, and when the pods are there."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from sampan_hub.backends.kubernetes.client import KubeClient
from sampan_hub.settings.access import find_access
from tests.bench.api_latency import asking, percentile
from tests.bench.hubs import HubClient
from tests.bench.kube.bed import API, IDLE, NAME, Bed
from tests.bench.kube.kubespawner import KUBESPAWNER, kubespawner_hub
from tests.bench.kube.nodes import LABEL, TOLERATION, simulated_nodes
from tests.bench.kube.simulated import MockCluster
from tests.bench.row import Aim, Line, Recorder, Row, Sample

COUNT = 100
MEASURE = f"{COUNT} pods at once"
OURS = "sampan"
SERVERS = "component=singleuser-server"
ON_SIMULATED_NODES = f"""
c.KubeSpawner.node_selector = {LABEL!r}
c.KubeSpawner.tolerations = [{TOLERATION!r}]
c.KubeSpawner.storage_pvc_ensure = False
c.KubeSpawner.volumes = {{}}
c.KubeSpawner.volume_mounts = {{}}
"""
"""Without homes: our workers have none either."""
THERE_S = 120.0


async def measure(bed: Bed, repeat: int) -> Row:
    """By turns: a hundred workers in one request to our service; a hundred servers side by side of the peer's hub."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-burst-")))
        (folder / "ca.crt").write_text(bed.release.authority)
        stack.enter_context(simulated_nodes(bed.kube, 2 * COUNT))
        ours = await stack.enter_async_context(bed.hub())
        pods = Pods(bed)
        stack.push_async_callback(pods.close)
        notebook = await stack.enter_async_context(bed.notebook(ours, "idle"))
        for number in range(repeat + 1):
            counts = recorder if number else Recorder()
            await burst_of_ours(bed, notebook, folder / "ca.crt", pods, counts)
            async with kubespawner_hub(bed.kube, bed.peers, *IDLE, ON_SIMULATED_NODES) as peer:
                await burst_of_peers(bed, peer, pods, counts)
    return Row("burst", _lines(recorder))


class Pods:
    """Counts them, as the API server has them."""

    def __init__(self, bed: Bed) -> None:
        self._client = KubeClient(find_access(bed.kube.kubeconfig, {}))

    async def close(self) -> None:
        await self._client.close()

    async def until_there(self, namespace: str, selector: str) -> None:
        """All hundred exist."""
        deadline_s = time.monotonic() + THERE_S
        path = f"/api/v1/namespaces/{namespace}/pods"
        while len((await self._client.get(path, labelSelector=selector, resourceVersion="0"))["items"]) < COUNT:
            assert time.monotonic() < deadline_s, f"{COUNT} pods {selector} are not there"
            await asyncio.sleep(0.1)


async def burst_of_ours(bed: Bed, notebook: str, authority: Path, pods: Pods, recorder: Recorder) -> None:
    """Its workers are stopped again."""
    cluster = await asyncio.to_thread(MockCluster, bed, notebook)
    path = f"{API}/jobs?owner={NAME}"
    credential = bed.credential("hub", "hub")
    async with asking(bed.release.url, path, credential, authority=authority) as answers:
        begun_s = time.monotonic()
        ids = await asyncio.to_thread(cluster.submit, COUNT)
        recorder.add("answered", time.monotonic() - begun_s)
        await pods.until_there(bed.release.namespace, "sampan.io/kind=worker")
        recorder.add(f"{OURS}: there", time.monotonic() - begun_s)
        await until(cluster.is_sent)
        recorder.add("recorded", time.monotonic() - begun_s)
    recorder.add(f"{OURS}: p99", percentile(answers, 0.99) * 1000)
    await asyncio.to_thread(cluster.stop, ids)
    await asyncio.to_thread(bed.until_no_jobs, kind="worker")


async def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + THERE_S
    while not await asyncio.to_thread(is_so):
        assert time.monotonic() < deadline_s, "not all workers are sent"


async def burst_of_peers(bed: Bed, hub: HubClient, pods: Pods, recorder: Recorder) -> None:
    """Its servers cannot answer: they end with their hub."""
    names = [f"user{number}" for number in range(COUNT)]
    await hub.add_users(names)

    async def ask(name: str) -> None:
        status, body = await hub.call("POST", f"/users/{name}/server", {})
        assert status == 202, (status, body)

    address = hub.url.removeprefix("http://")
    token = hub.headers["Authorization"].removeprefix("token ")
    async with asking(address, "/hub/api/users?limit=1", token) as answers:
        begun_s = time.monotonic()
        asked: list[Awaitable[None]] = [ask(name) for name in names]
        await asyncio.gather(*asked)
        await pods.until_there(bed.peers, SERVERS)
        recorder.add(f"{KUBESPAWNER}: there", time.monotonic() - begun_s)
    recorder.add(f"{KUBESPAWNER}: p99", percentile(answers, 0.99) * 1000)


def _lines(recorder: Recorder) -> list[Line]:
    def sides(what: str) -> tuple[Sample | None, Sample | None]:
        return recorder.sample(f"{OURS}: {what}"), recorder.sample(f"{KUBESPAWNER}: {what}")

    p99, peers_p99 = sides("p99")
    there, peers_there = sides("there")
    return [
        Line(f"{MEASURE}: p99 of other answers meanwhile", "ms", p99, peers_p99, Aim(100)),
        Line(f"{MEASURE}: the request for them answered", "s", recorder.sample("answered")),
        Line(f"{MEASURE}: all exist", "s", there, peers_there, Aim(1, times_peer=True)),
        Line(f"{MEASURE}: all on record", "s", recorder.sample("recorded")),
    ]
