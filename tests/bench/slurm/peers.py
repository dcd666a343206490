"""batchspawner with a plain JupyterHub, and dask-gateway, on the hub host; a Python of the peers' on a node."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp

from tests.bench.hubs import HubClient
from tests.bench.peers import CELLS, read_answer
from tests.bench.slurm.bed import NAME, Bed
from tests.bench.slurm.environment import ENVIRONMENT
from tests.slurm.installation.build import PREFIX
from tests.support.installation import wait_until
from tests.testbeds.slurm.process import Command
from tests.testbeds.slurm.profile import HUB

BATCHSPAWNER = "batchspawner, JupyterHub"
PORT, HUB_PORT, GATEWAY_PORT = 8000, 443, 8000
HUB_FOLDER, GATEWAY_FOLDER = "/srv/jupyterhub", "/srv/gateway"
HUB_CONFIG = """
import batchspawner
c = get_config()
c.JupyterHub.bind_url = "http://{host}:{port}/"
c.JupyterHub.hub_ip = "{host}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8101"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes": [
    "admin:users", "admin:servers", "servers", "tokens", "access:servers", "proxy", "read:hub"]}}]
c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.SlurmSpawner.req_partition = "compute"
c.SlurmSpawner.req_runtime = "1:00:00"
c.SlurmSpawner.req_memory = "700M"
c.SlurmSpawner.req_nprocs = "1"
c.SlurmSpawner.batchspawner_singleuser_cmd = "{environment}/bin/batchspawner-singleuser"
c.Spawner.cmd = ["{environment}/bin/jupyterhub-singleuser"]
c.Spawner.default_url = "/lab"
"""
GATEWAY_CONFIG = """
c = get_config()
c.DaskGateway.backend_class = "dask_gateway_server.backends.jobqueue.slurm.SlurmBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.DaskGateway.address = "127.0.0.1:8102"
c.Proxy.address = "{host}:{port}"
c.SlurmBackend.api_url = "http://{host}:{port}/api"
c.SlurmBackend.dask_gateway_jobqueue_launcher = "{environment}/bin/dask-gateway-jobqueue-launcher"
c.SlurmClusterConfig.partition = "compute"
c.SlurmClusterConfig.scheduler_cores = 1
c.SlurmClusterConfig.scheduler_memory = "700 M"
c.SlurmClusterConfig.worker_cores = 1
c.SlurmClusterConfig.worker_memory = "700 M"
c.SlurmClusterConfig.scheduler_cmd = ["{environment}/bin/python", "-m", "distributed.cli.dask_scheduler"]
c.SlurmClusterConfig.worker_cmd = ["{environment}/bin/python", "-m", "distributed.cli.dask_worker"]
"""
"""Its own commands `dask-scheduler` and `dask-worker` are gone from this version of Dask."""


def _start(bed: Bed, name: str, argv: list[str], folder: str, files: dict[str, str]) -> Command:
    """A server of the peers' on the hub host, as root."""
    place = bed.cluster.hub.root / folder.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (place / file).write_text(text)
    path = f"{ENVIRONMENT}/bin:{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    with (bed.folder / f"{name}.log").open("ab") as log:
        return bed.cluster.hub.popen(argv, cwd=folder, env={"PATH": path}, stdout=log, stderr=subprocess.STDOUT)


def _stop(server: Command) -> None:
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _answers(server: Command, url: str) -> bool:
    if server.poll() is not None:
        raise RuntimeError(f"what should answer at {url} ended with {server.returncode}")
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403
    except OSError:
        return False


@asynccontextmanager
async def batchspawner_hub(bed: Bed) -> AsyncIterator[HubClient]:
    """A plain JupyterHub with its own proxy; notebooks by batchspawner's own script."""
    token = secrets.token_hex(16)
    node = bed.cluster.hub.run(["find", str(PREFIX), "-path", "*/bin/node"], check=True).stdout.split()[0]
    script = f"{PREFIX}/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    config = HUB_CONFIG.format(
        host=HUB, port=PORT, hub_port=HUB_PORT, proxy=[node, script], token=token, environment=ENVIRONMENT
    )
    argv = [f"{ENVIRONMENT}/bin/python", "-m", "jupyterhub"]
    server = _start(bed, "batchspawner", argv, HUB_FOLDER, {"jupyterhub_config.py": config})
    try:
        url = f"http://{HUB}:{PORT}"
        await asyncio.to_thread(wait_until, lambda: _answers(server, f"{url}/hub/api/"), 60, "the peer's hub")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as opened:
            hub = HubClient(opened, url, token)
            await hub.add_users([NAME])
            yield hub
    finally:
        _stop(server)


@contextmanager
def gateway(bed: Bed) -> Iterator[str]:
    """dask-gateway's server with its Slurm backend; its address."""
    config = GATEWAY_CONFIG.format(host=HUB, port=GATEWAY_PORT, environment=ENVIRONMENT)
    argv = [f"{ENVIRONMENT}/bin/dask-gateway-server", "-f", f"{GATEWAY_FOLDER}/config.py"]
    server = _start(bed, "gateway", argv, GATEWAY_FOLDER, {"config.py": config})
    try:
        url = f"http://{HUB}:{GATEWAY_PORT}"
        wait_until(lambda: _answers(server, f"{url}/api/health"), 30, "dask-gateway answers")
        yield url
    finally:
        _stop(server)


class NodePython:
    """A Python of the peers' environment on a node, alice's, that runs cells."""

    def __init__(self, process: Command) -> None:
        self._process = process

    async def ask(self, code: str, timeout_s: float = 300) -> Any:
        """Run this cell; the value that it printed as `ANSWER <json>`."""
        return await asyncio.wait_for(asyncio.to_thread(self._ask, code), timeout_s)

    def _ask(self, code: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers' Python ended with {self._process.wait()} (see cells.log)")
        return read_answer(json.loads(line))


@contextmanager
def node_python(bed: Bed) -> Iterator[NodePython]:
    """On node1, where a notebook might be."""
    script = bed.cluster.shared / "cells.py"
    script.write_text(CELLS)
    script.chmod(0o644)
    with (bed.folder / "cells.log").open("ab") as log:
        process = bed.cluster.nodes["node1"].popen(
            [f"{ENVIRONMENT}/bin/python", "/shared/cells.py"],
            user=NAME,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield NodePython(process)
    finally:
        process.kill()
        process.wait()
