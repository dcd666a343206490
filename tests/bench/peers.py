"""What Sampan is measured against, from .venv/bench: a plain JupyterHub, dask-gateway, and a Python that runs cells."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support.installation import free_port, wait_until
from tests.system.hub_fixtures import PROXY_SCRIPT, _answers, find_node

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv" / "bench"
FOREIGN = ("JUPYTER", "JPY_", "CONFIGPROXY_", "SAMPAN_", "DASK_")
HUB_CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes": [
    "admin:users", "admin:servers", "servers", "tokens", "access:servers", "proxy", "read:hub"]}}]
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/homes/{{username}}"
c.Spawner.args = ["--allow-root"]
c.Spawner.default_url = "/lab"
{more}
"""
GATEWAY_CONFIG = """
c = get_config()
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.DaskGateway.address = "127.0.0.1:{api}"
c.Proxy.address = "127.0.0.1:{port}"
c.ClusterConfig.scheduler_cmd = [{python!r}, "-m", "distributed.cli.dask_scheduler"]
c.ClusterConfig.worker_cmd = [{python!r}, "-m", "distributed.cli.dask_worker"]
"""
CELLS = """
import contextlib, io, json, sys
space = {"__name__": "__main__"}
def main():
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            exec(json.loads(line), space)
        answers.write(json.dumps(text.getvalue()) + chr(10))
        answers.flush()
if __name__ == "__main__":
    main()
"""
"""A cell of the peer runs in a fresh Python as a kernel's does; one line in, what it printed out."""


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}


def versions() -> dict[str, str]:
    """What was compared with what."""
    if not (PEER / "bin" / "python").exists():
        return {}
    sampan = versions_in(Path(sys.executable), "sampan-hub")
    peers = versions_in(PEER / "bin" / "python", "jupyterhub", "jupyterlab", "distributed", "dask-gateway-server")
    return {"Python": platform.python_version(), **sampan, **peers}


def versions_in(python: Path, *names: str) -> dict[str, str]:
    """Of these packages in that environment."""
    code = f"from importlib.metadata import version as v; print(*map(v, {names!r}))"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    return dict(zip(names, said.split(), strict=True))


class PlainHub:
    """JupyterHub as it comes, with its own proxy; `more` is added to its configuration."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.hub_port = free_port()
        self.api_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = secrets.token_hex(16)
        self.hub: subprocess.Popen[bytes] | None = None
        (folder / "jupyterhub_config.py").write_text(
            HUB_CONFIG.format(
                port=self.port,
                hub_port=self.hub_port,
                api_port=self.api_port,
                proxy=[find_node(), str(PROXY_SCRIPT)],
                token=self.token,
                folder=folder,
                more=more,
            )
        )

    def start(self) -> None:
        """Run it and wait until it answers."""
        self.spawn()
        wait_until(lambda: _answers(self.port, "/hub/api/", tls=False), 60, "the plain JupyterHub answers")

    def spawn(self) -> None:
        """Run it; nothing is waited for."""
        path = f"{PEER / 'bin'}:{Path(find_node()).parent}:{os.environ['PATH']}"
        with (self.folder / "hub.log").open("ab") as log:
            self.hub = subprocess.Popen(
                [PEER / "bin" / "python", "-m", "jupyterhub"],
                cwd=self.folder,
                env={**clean_environment(), "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill -9 the hub alone."""
        assert self.hub is not None
        self.hub.kill()
        self.hub.wait()

    @property
    def proxy_pid(self) -> int:
        return int((self.folder / "jupyterhub-proxy.pid").read_text())

    def stop(self) -> None:
        """Its hub ends servers and proxy too."""
        if self.hub is not None and self.hub.poll() is None:
            self.hub.terminate()
            try:
                self.hub.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def plain_hub(folder: Path, more: str = "") -> Iterator[PlainHub]:
    hub = PlainHub(folder, more)
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()


@contextmanager
def gateway(folder: Path) -> Iterator[str]:
    """dask-gateway's server with its local backend; its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "dask_gateway_config.py"
    config.write_text(GATEWAY_CONFIG.format(api=free_port(), port=port, python=str(PEER / "bin" / "python")))
    with (folder / "gateway.log").open("ab") as log:
        server = subprocess.Popen(
            [PEER / "bin" / "dask-gateway-server", "-f", str(config)],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _answers(port, "/api/health", tls=False), 30, "dask-gateway answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class PeerPython:
    """A Python of .venv/bench that runs cells."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path) -> Self:
        script = folder / "cells.py"
        script.write_text(CELLS)
        with (folder / "cells.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                PEER / "bin" / "python",
                script,
                cwd=folder,
                env=clean_environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return cls(process)

    async def ask(self, code: str, timeout_s: float = 300) -> Any:
        """Run this cell; the value that it printed as `ANSWER <json>`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        if not line:
            raise RuntimeError(f"the peer's Python ended with {await self._process.wait()} (see cells.log)")
        return read_answer(json.loads(line))

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def read_answer(text: str) -> Any:
    """What a cell printed as `ANSWER <json>`; None without."""
    found = re.search(r"^ANSWER (.*)$", text, re.MULTILINE)
    return json.loads(found[1]) if found else None
