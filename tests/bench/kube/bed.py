"""The chart installed on the cluster of this computer, and a namespace for the peers, as measures take them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from sampan_hub.jobs.keys import CredentialKind, make_credential
from tests.bench.hubs import HubClient
from tests.bench.kube import images
from tests.bench.kube.nodes import LABEL, TOLERATION
from tests.bench.kube.objects import make_account
from tests.bench.peers import read_answer
from tests.kube.chart_rig import Release, installed
from tests.kube.conftest import REGISTRY
from tests.support.installation import wait_until
from tests.support.kernels import Kernel
from tests.testbeds.kube.cluster import KubeCluster, running_cluster

NAME = "ana"
API = "/services/sampan/api/v1"
NOTEBOOK = (1.0, 1024)
"""A notebook of either side, where its start is measured: cores and MiB of memory."""
KERNEL = (0.25, 700)
"""A notebook of either side from which clusters are made."""
SCHEDULER = (0.25, 500)
WORKER = (0.25, 500)
"""Of either side: a notebook, a scheduler and four workers, beside everything else, on two cores."""
IDLE = (0.1, 400)
"""A notebook that is only there."""
SIMULATED = "simulated"
"""The size of jobs that go to simulated nodes."""
SIZES = {"notebook": NOTEBOOK, "kernel": KERNEL, "worker": WORKER, "idle": IDLE, SIMULATED: (0.1, 100)}
VALUES: dict[str, Any] = {
    "config": {
        "sizes": {
            "small": None,
            **{name: {"cores": cores, "memory": f"{memory_mib}M"} for name, (cores, memory_mib) in SIZES.items()},
        },
        "default_size": "notebook",
        "backends": {
            "kubernetes": {
                "scheduler": {"cores": SCHEDULER[0], "memory": f"{SCHEDULER[1]}M"},
                "storage": {"home": {"class": "local-path", "size": "1Gi"}, "scratch": {"size": "1Gi"}},
                "sizes": {
                    SIMULATED: {
                        "node_selector": LABEL,
                        "tolerations": [TOLERATION],
                    }
                },
            }
        },
    },
    "prePuller": {"continuous": {"enabled": False}},
}


@dataclass(slots=True)
class Bed:
    """`peers`: their namespace."""

    kube: KubeCluster
    release: Release
    peers: str

    def credential(self, subject: str, kind: CredentialKind) -> str:
        """For the service, as it makes them itself."""
        return make_credential(self.release.key("service.key"), subject, kind)

    def ask(self, method: str, path: str, credential: str, body: Any = None) -> Any:
        """One request to the service through the proxy; it must go well."""
        status, answer = self.release.ask(method, f"{API}{path}", body, {"Authorization": f"Bearer {credential}"})
        assert status == 200, (path, status, answer)
        return answer

    def until_no_jobs(self, **labels: str) -> None:
        """No pod of such a job is left."""
        wait_until(lambda: not self.release.pods(**labels), 120, "the end of the last job's pod")

    def until_no_pods(self, namespace: str, selector: str) -> None:
        """No such pod of a peer's is left."""
        words = ["pods", f"--selector={selector}"]
        wait_until(lambda: not self.kube.get(*words, namespace=namespace)["items"], 120, f"the end of {selector}")

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[HubClient]:
        """Our hub, with its administrator's token."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self.release.trust)
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield HubClient(session, self.release.url, self.release.key("cli-token").decode())

    @asynccontextmanager
    async def notebook(self, hub: HubClient, size: str) -> AsyncIterator[str]:
        """A server of ana's, started for it and stopped again; its job."""
        assert await hub.start(NAME, {"size": size}) != 429, "our hub refused the start"
        try:
            (job,) = await asyncio.to_thread(self.release.jobs, owner=NAME, kind="notebook", state="running")
            yield job["id"]
        finally:
            await hub.stop(NAME)

    @asynccontextmanager
    async def notebook_python(self) -> AsyncIterator[NotebookPython]:
        """A kernel in such a server."""
        async with self.hub() as hub, self.notebook(hub, "kernel"):
            token = await hub.token_of(NAME)
            await hub.until_server_answers(NAME, token)
            yield NotebookPython(await Kernel.start(hub.session, f"{self.release.url}/user/{NAME}", token))


class NotebookPython:
    """Runs cells in a kernel of ours."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def ask(self, code: str, timeout_s: float = 300) -> Any:
        return read_answer((await self._kernel.execute(code, timeout_s)).checked().text)


@contextmanager
def open_bed() -> Iterator[Bed]:
    """Everything up and of this clone; gone at the end, jobs included."""
    with running_cluster() as kube:
        images.load_all(kube)
        with kube.namespace("bench-peers") as peers, installed(kube, REGISTRY, "bench", VALUES) as release:
            kube.apply(*make_account(), namespace=peers)
            release.sampan("user", "add", NAME)
            yield Bed(kube, release, peers)
