"""Somebody who logs in by a link, starts a server and runs code in its kernels, all through the proxy."""

from __future__ import annotations

import asyncio
import http.cookiejar
import json
import time
import urllib.request
from typing import Any

import aiohttp

from tests.slurm.installation.site import Site
from tests.support.installation import wait_until
from tests.support.kernels import Kernel, Result


class Notebook:
    """A running server, and as many kernels as are asked for."""

    def __init__(self, person: Person, job: dict[str, Any]) -> None:
        self.person = person
        self.site = person.site
        self.job = job
        self.base = f"{self.site.url}/user/{person.name}"

    def kernel(self) -> RemoteKernel:
        """A new kernel."""
        return RemoteKernel(self)

    def run(self, code: str, timeout_s: float = 60) -> str:
        """What `code` prints in a kernel of its own."""
        return self.kernel().run(code, timeout_s)

    def stop(self) -> None:
        """Through JupyterHub; returns when the service says that the job has ended."""
        status, body = self.person.hub("DELETE", f"/users/{self.person.name}/server")
        assert status in (202, 204), body
        self.site.wait_for_job(self.job["id"], "ended")


class RemoteKernel:
    """One kernel by its id. Every call is a connection of its own, as after a browser's reload."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self.id = asyncio.run(self._start())

    async def _start(self) -> str:
        async with self._session() as session:
            return (await Kernel.start(session, self._notebook.base, self._notebook.person.token)).id

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._notebook.site.trust))

    def execute(self, code: str, timeout_s: float = 60) -> Result:
        """Run it to its end, whatever comes of it."""
        return asyncio.run(self._execute(code, timeout_s))

    async def _execute(self, code: str, timeout_s: float) -> Result:
        async with self._session() as session:
            kernel = Kernel(session, self._notebook.base, self.id, self._notebook.person.token)
            return await kernel.execute(code, timeout_s)

    def run(self, code: str, timeout_s: float = 60) -> str:
        """What it prints; a traceback is a failure."""
        return self.execute(code, timeout_s).checked().text


class Person:
    """Logged in: `token` is one that they made for themselves with the cookie that the link gave."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.link = site.sampan("user", "add", name).split()[-1]
        self.cookies = http.cookiejar.CookieJar()
        self.token = self._make_token()

    def _make_token(self) -> str:
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=self.site.trust), urllib.request.HTTPCookieProcessor(self.cookies)
        )
        with opener.open(self.link, timeout=30), opener.open(f"{self.site.url}/hub/token", timeout=30) as page:
            assert page.url.endswith("/hub/token"), page.url
        xsrf = next(str(each.value) for each in self.cookies if (each.name, each.path) == ("_xsrf", "/hub/"))
        url = f"{self.site.url}/hub/api/users/{self.name}/tokens?_xsrf={xsrf}"
        request = urllib.request.Request(url, method="POST", data=b'{"note": "test"}')
        request.add_header("Content-Type", "application/json")
        with opener.open(request, timeout=30) as answer:
            return str(json.loads(answer.read())["token"])

    def hub(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """JupyterHub's API."""
        return self._ask(method, f"/hub/api{path}", body)

    def service(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The compute service's API."""
        return self._ask(method, f"/services/sampan/api/v1{path}", body)

    def server(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The notebook server's own API."""
        return self._ask(method, f"/user/{self.name}{path}", body)

    def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        return self.site.ask(method, path, body, {"Authorization": f"token {self.token}"})

    def start(self, timeout_s: float = 90, **options: Any) -> Notebook:
        """A server with these options (size, project…), when it answers."""
        status, body = self.hub("POST", f"/users/{self.name}/server", options)
        assert status in (201, 202), body
        deadline = time.monotonic() + timeout_s
        wait_until(lambda: self._answers(deadline), timeout_s + 5, f"{self.name}'s server")
        return Notebook(self, self.notebook())

    def _answers(self, deadline: float) -> bool:
        if self.server("GET", "/api/status")[0] == 200:
            return True
        if time.monotonic() > deadline or self.notebook()["state"] == "ended":
            raise AssertionError(f"{self.name}'s server does not answer: {self.notebook()}\n{self.last_log()}")
        return False

    def notebook(self) -> dict[str, Any]:
        """The job of the latest server."""
        jobs = self.site.jobs(owner=self.name, kind="notebook")
        assert jobs, f"no notebook of {self.name} is known"
        return max(jobs, key=lambda job: str(job["created_at"]))

    def last_log(self) -> str:
        lines = self.site.admin("GET", f"/jobs/{self.notebook()['id']}/log")["lines"]
        return "\n".join(map(str, lines))
