"""What idle notebooks, and a thousand pods, make each side ask of the API server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.bench.hubs import HubClient
from tests.bench.kube.bed import IDLE, NAME, Bed
from tests.bench.kube.counting import Account, count, counted
from tests.bench.kube.kubespawner import KUBESPAWNER, kubespawner_hub
from tests.bench.kube.nodes import simulated_nodes
from tests.bench.kube.objects import ACCOUNT
from tests.bench.kube.simulated import TIMEOUT_S, MockCluster, Players, make_idle_pod
from tests.bench.row import Aim, Line, Recorder, Row
from tests.support.installation import wait_until

MEASURE = "API requests per minute"
OURS = "sampan"
NOTEBOOKS, MANY = 4, 1000
WINDOW_S = 120.0
SETTLED_S = 30.0
"""What the last start still asks for is waited for."""
SERVER_LABELS = {"component": "singleuser-server"}
"""By which KubeSpawner finds pods of servers."""


async def measure(bed: Bed, _repeat: int) -> Row:
    """One window of two minutes of both sides at once with four notebooks each, one with a thousand pods each beside
    them."""
    recorder = Recorder()
    accounts = {OURS: Account(bed.release.namespace, "hub"), KUBESPAWNER: Account(bed.peers, ACCOUNT)}
    async with AsyncExitStack() as stack:
        stack.enter_context(simulated_nodes(bed.kube, 2 * MANY))
        ours = await stack.enter_async_context(bed.hub())
        peer = await stack.enter_async_context(kubespawner_hub(bed.kube, bed.peers, *IDLE))
        names = [NAME, *(f"user{number}" for number in range(NOTEBOOKS - 1))]
        await ours.add_users(names[1:])
        await peer.add_users(names)
        stack.enter_context(counted(bed.kube, list(accounts.values())))
        notebook = await stack.enter_async_context(bed.notebook(ours, "idle"))
        for name in names[1:]:
            stack.push_async_callback(ours.stop, name)
            await ours.start(name, {"size": "idle"})
        for name in names:
            await peer.start(name)
        await watch(bed, accounts, recorder, f"{NOTEBOOKS}")
        stack.push_async_callback(asyncio.to_thread, end_many, bed)
        workers = await start_many(bed, ours, notebook)
        await watch(bed, accounts, recorder, f"{MANY}", workers)
    return Row("idle", _lines(recorder), note=f"Counted over {WINDOW_S:.0f} s each time, of both sides at once.")


async def watch(
    bed: Bed, accounts: dict[str, Account], recorder: Recorder, label: str, cluster: MockCluster | None = None
) -> None:
    """Requests per minute when nothing happens. The cluster's lease is renewed."""
    await idle_for(SETTLED_S, cluster)
    before = {side: await asyncio.to_thread(count, bed.kube, account) for side, account in accounts.items()}
    await idle_for(WINDOW_S, cluster)
    for side, account in accounts.items():
        asked = await asyncio.to_thread(count, bed.kube, account) - before[side]
        recorder.add(f"{side}: {label}", 60 * asked / WINDOW_S)


async def idle_for(duration_s: float, cluster: MockCluster | None) -> None:
    """Nothing but the lease of a cluster, which its host would renew."""
    for _ in range(round(duration_s / 10)):
        await asyncio.sleep(10)
        if cluster is not None:
            await asyncio.to_thread(cluster.states)


async def start_many(bed: Bed, hub: HubClient, notebook: str) -> MockCluster:
    """A thousand workers of ours that have claimed themselves, and as many pods that KubeSpawner takes for its own."""
    cluster = await asyncio.to_thread(MockCluster, bed, notebook)
    await asyncio.to_thread(cluster.submit, MANY)
    players = Players(bed, hub.session)
    try:
        await players.make_all(bed.peers, (make_idle_pod(f"many-{number}", SERVER_LABELS) for number in range(MANY)))
        await asyncio.to_thread(wait_until, lambda: len(running(bed)) >= MANY, TIMEOUT_S, "a thousand pods that run")
        await players.claim_all(await asyncio.to_thread(running, bed))
    finally:
        await players.close()
    await asyncio.to_thread(wait_until, lambda: cluster.states()["running"] >= MANY, TIMEOUT_S, "a thousand workers")
    return cluster


def running(bed: Bed) -> list[dict[str, object]]:
    """Our workers whose simulated nodes say that they run."""
    return [pod for pod in bed.release.pods(kind="worker") if pod["status"].get("phase") == "Running"]


def end_many(bed: Bed) -> None:
    ids = [job["id"] for job in bed.release.jobs(kind="worker") if job["state"] != "ended"]
    for start in range(0, len(ids), 500):
        bed.release.admin("POST", "/jobs/stop", {"ids": ids[start : start + 500]})
    bed.kube.kubectl("delete", "pods", f"--namespace={bed.peers}", "--selector=component=singleuser-server",
                     "--field-selector=spec.nodeName!=kt-node-0", "--timeout=300s", timeout_s=310)  # fmt: skip
    wait_until(lambda: not bed.release.pods(kind="worker"), TIMEOUT_S, "the end of a thousand workers")


def _lines(recorder: Recorder) -> list[Line]:
    def line(label: str, words: str) -> Line:
        ours, peers = (recorder.sample(f"{side}: {label}") for side in (OURS, KUBESPAWNER))
        return Line(f"{MEASURE}, {words}", "", ours, peers, Aim(1, times_peer=True))

    return [line(f"{NOTEBOOKS}", f"{NOTEBOOKS} idle notebooks"), line(f"{MANY}", f"{MANY:,} simulated pods")]
