"""One real cluster with a whole Sampan and the peers' environment on it, as the measures of this package take it."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from sampan_hub.jobs.keys import CredentialKind, make_credential
from tests.bench.hubs import HubClient
from tests.bench.peers import read_answer
from tests.bench.slurm import environment
from tests.slurm.installation.build import ENVIRONMENT
from tests.slurm.installation.site import STATE, URL, Site
from tests.support.installation import wait_until
from tests.support.kernels import Kernel
from tests.testbeds.slurm.cluster import Cluster, running_cluster
from tests.testbeds.slurm.profile import DELAY0, JOB_PORTS, NETWORK, STOCK, Profile

NAME = "alice"
SETTINGS = """
profile: site
url: {url}/
tls: own
login: links
state_dir: {state}
environments:
  default: {{prefix: {prefix}}}
sizes:
  small: {{cores: 1, memory: 700M}}
backends:
  slurm:
    kind: slurm
    partition: compute
    network: {network}
    ports: {{first: {ports[0]}, last: {ports[1]}}}
    walltime: 1h
"""
PROFILES: dict[str, Profile] = {
    "stock": replace(STOCK, cpus=8, memory_mb=12000),
    "delay0": replace(DELAY0, cpus=8, memory_mb=12000),
    "wide": replace(DELAY0, nodes=8, cpus=150, memory_mb=200_000, settings={"MessageTimeout": "60"}),
}
"""`wide`: room for a thousand jobs that only pretend, and patience with machines that start many of them at once."""
WORDS = {"stock": "stock", "delay0": "delay 0", "wide": "delay 0"}
API = "/services/sampan/api/v1"


def settings(prefix: Path) -> str:
    return SETTINGS.format(url=URL, state=STATE, prefix=prefix, network=NETWORK, ports=JOB_PORTS)


@dataclass(slots=True)
class Bed:
    """`profile`: its name in `PROFILES`. `folder`: for what the peers' programs write."""

    profile: str
    cluster: Cluster
    site: Site
    folder: Path

    @property
    def words(self) -> str:
        """The profile, as the table says it."""
        return WORDS[self.profile]

    def requests(self, *users: str) -> int:
        """RPCs that slurmctld has answered to these system users since its start."""
        by_user = self.cluster.count_requests_by_user()
        return sum(by_user[user] for user in users)

    def requests_by_type(self) -> Counter[str]:
        return self.cluster.count_requests()

    def until_idle(self) -> None:
        """No job is left on a node: what the last measure did is over."""
        wait_until(lambda: not self.cluster.ask("squeue", "-a", "-h").strip(), 60, "the last job's end")

    def until_only_notebook(self) -> None:
        """No worker or scheduler of anybody's is left on a node."""
        wait_until(lambda: len(self.cluster.ask("squeue", "-a", "-h").split("\n")) <= 2, 60, "the workers' end")

    def credential(self, subject: str, kind: CredentialKind) -> str:
        """For the service, as it makes them itself."""
        return make_credential((self.site.state / "keys/service.key").read_bytes().strip(), subject, kind)

    def ask(self, method: str, path: str, credential: str, body: Any = None) -> Any:
        """One request to the service through the proxy; it must go well."""
        status, answer = self.site.ask(method, f"{API}{path}", body, {"Authorization": f"Bearer {credential}"})
        assert status == 200, (path, status, answer)
        return answer

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[HubClient]:
        """Our hub, with its administrator's token."""
        token = (self.site.state / "keys/cli-token").read_text().strip()
        async with session(self.site) as opened:
            yield HubClient(opened, self.site.url, token)

    @asynccontextmanager
    async def notebook_python(self) -> AsyncIterator[NotebookPython]:
        """A kernel in a server of alice's, started for it and stopped again."""
        async with self.hub() as hub:
            token = await hub.token_of(NAME)
            assert await hub.start(NAME) != 429
            await hub.until_server_answers(NAME, token)
            kernel = await Kernel.start(hub.session, f"{self.site.url}/user/{NAME}", token)
            yield NotebookPython(kernel)
            await hub.stop(NAME)


class NotebookPython:
    """Runs cells in a kernel of ours."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def ask(self, code: str, timeout_s: float = 300) -> Any:
        return read_answer((await self._kernel.execute(code, timeout_s)).checked().text)


@asynccontextmanager
async def session(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    """Knows the installation's certificate."""
    connector = aiohttp.TCPConnector(limit=0, ssl=site.trust)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as opened:
        yield opened


@contextmanager
def open_bed(profile: str, folder: Path) -> Iterator[Bed]:
    """Everything up; gone at the end, jobs included."""
    peers = environment.build()
    with running_cluster(PROFILES[profile]) as cluster:
        subprocess.run(["cp", "-al", peers, cluster.shared / "bench"], check=True)
        environment.make_mock_environment(cluster.shared)
        prefix = environment.MOCK if profile == "wide" else ENVIRONMENT
        site = Site(cluster, folder, settings(prefix))
        try:
            site.install()
            site.start()
            site.sampan("user", "add", NAME)
            yield Bed(profile, cluster, site, folder)
        finally:
            site.stop()


def lead_ports(cluster: Cluster, ports: tuple[int, int] = JOB_PORTS) -> None:
    """Programs that take any free port get one that machines answer on: peers cannot be told a range."""
    for node in cluster.nodes.values():
        node.run(["sysctl", "-q", "-w", f"net.ipv4.ip_local_port_range={ports[0]} {ports[1]}"], check=True)
