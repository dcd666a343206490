"""The real service with a real notebook job, and nothing else: what the client's system tests stand on.

JupyterHub is stood in for (its users' tokens are all that a notebook asks of it); kernels are real ipykernels.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.paths import StatePaths
from tests.judge.processes import processes_with_key
from tests.support.installation import free_port, wait_until
from tests.support.kernels import Kernel
from tests.support.notebook_service import PERSON_TOKEN, NotebookService

USER = Path(__file__).parents[2] / ".venv" / "user"
SETTINGS = """\
url: http://127.0.0.1:{port}/
state_dir: {folder}/state
backends: {{local: {{kind: local, cores: 8, memory: 8GiB{backend}}}}}
environments: {{default: {{prefix: {prefix}}}}}
sizes:
  small: {{cores: 1, memory: 512MiB, price_per_hour: 0.02}}
  large: {{cores: 2, memory: 1GiB, price_per_hour: 0.05}}
default_size: small
currency: EUR
{more}
"""


class ClusterSite:
    """`start` runs the service, `open_notebook` a notebook job; `stop` ends whatever carries a key of this site."""

    def __init__(self, folder: Path, more: str = "", backend: str = "") -> None:
        """`more` keys of the settings, and of their backend: `, fork: false`."""
        self.folder = folder
        self.port = free_port()
        self.paths = StatePaths(folder / "state")
        self.settings = folder / "sampan.yaml"
        self.home = folder / "home"
        self.home.mkdir()
        self.settings.write_text(
            SETTINGS.format(port=free_port(), folder=folder, prefix=USER, more=more, backend=backend)
        )
        self.hub = NotebookService()
        self.service: subprocess.Popen[bytes] | None = None
        self.notebook: dict[str, Any] = {}

    def serve_argv(self) -> list[str]:
        """What runs the service."""
        return [sys.executable, "-m", "sampan_hub.service", "--port", str(self.port), "--config", str(self.settings)]

    def start(self) -> None:
        """Serve, and wait until the service says that it is ready."""
        with (self.folder / "service.log").open("ab") as log:
            self.service = subprocess.Popen(
                self.serve_argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        wait_until(lambda: self._get_ready() or self.service_log_of_the_dead(), 30, "the service is ready")

    def service_log_of_the_dead(self) -> None:
        assert self.service is not None
        assert self.service.poll() is None, (self.folder / "service.log").read_text()

    def end_service(self, kill: bool = False) -> None:
        assert self.service is not None
        (self.service.kill if kill else self.service.terminate)()
        self.service.wait(20)

    def _get_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/sampan"

    @property
    def instance(self) -> str:
        return self.paths.instance.read_text().strip()

    def call(self, method: str, path: str, body: Any = None, kind: str = "hub") -> dict[str, Any]:
        """One request to the service as the hub (or `admin`)."""
        subject = "hub" if kind == "hub" else "cli"
        credential = make_credential(read_key(self.paths.key("service.key")), subject, kind)  # type: ignore[arg-type]
        request = urllib.request.Request(
            f"{self.base}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {credential}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.loads(answer.read()))

    def open_notebook(self, env: dict[str, str] | None = None) -> None:
        """Submit a notebook job as the hub does and wait until it runs."""
        claim = self.hub.make_claim()
        base = {"kind": "notebook", "owner": "ana", "size": "small", "folder": str(self.home),
                "env": claim["env"] | (env or {}), "secrets": claim["secrets"]}  # fmt: skip
        answer = self.call("POST", "/jobs", {"batch": f"notebook-{free_port()}-{self.port}", "base": base,
                                             "items": [{"name": ""}]})  # fmt: skip
        job_id = answer["items"][0]["job"]["id"]
        self.notebook = wait_until(lambda: self._running(job_id), 60, "the notebook runs")

    def _running(self, job_id: str) -> dict[str, Any] | None:
        job = self.call("GET", f"/jobs/{job_id}")
        assert job["state"] != "ended", (job["reason"], self.call("GET", f"/jobs/{job_id}/log"))
        return job if job["state"] == "running" else None

    def workers(self, *states: str) -> list[dict[str, Any]]:
        """Worker jobs in these states (none given: all that have not ended)."""
        jobs = self.call("GET", "/jobs?kind=worker")["jobs"]
        return [job for job in jobs if (job["state"] in states if states else job["state"] != "ended")]

    def running_names(self) -> set[str]:
        """Names of the workers that the service calls running."""
        return {job["name"] for job in self.workers("running")}

    @asynccontextmanager
    async def kernel(self, name: str = "python3") -> AsyncIterator[Kernel]:
        """A fresh ipykernel of the notebook."""
        address = self.notebook["address"]
        async with aiohttp.ClientSession() as http:
            yield await Kernel.start(http, f"http://127.0.0.1:{address['port']}/user/ana/", PERSON_TOKEN, name)

    def worker_pids(self) -> set[int]:
        """From /proc alone: the processes that are workers."""
        return {process.pid for process in processes_with_key(self.instance) if process.entry == "worker"}

    def host_pids(self) -> set[int]:
        """From /proc alone: the hosts of this site's notebooks."""
        found = processes_with_key(self.instance)
        return {process.pid for process in found if "sampan.host" in process.argv}

    def stop(self) -> None:
        """End the notebook through the service, then the service, then whatever should not be there any more."""
        if self.notebook and self.service is not None and self.service.poll() is None:
            self.call("POST", "/jobs/stop", {"ids": [self.notebook["id"]]})
            wait_until(
                lambda: self.call("GET", f"/jobs/{self.notebook['id']}")["state"] == "ended", 30, "the notebook ended"
            )
        if self.service is not None and self.service.poll() is None:
            self.end_service()
        for process in processes_with_key(self.instance):
            psutil.Process(process.pid).kill()
