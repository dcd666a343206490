"""Somebody who logs in by a link, starts a server and runs code in its kernels, all through the proxy."""

from __future__ import annotations

import http.cookiejar
import json
import time
import urllib.error
import urllib.request
from typing import Any

import aiohttp

from tests.support.entry import Entry
from tests.support.installation import wait_until
from tests.support.kernels import Kernel, Result


class Notebook:
    """A running server, and as many kernels as are asked for."""

    def __init__(self, person: Person, job: dict[str, Any]) -> None:
        self.person = person
        self.site = person.site
        self.job = job
        self.base = f"{self.site.url}/user/{person.name}/{job['name']}".rstrip("/")

    def kernel(self) -> RemoteKernel:
        """A new kernel."""
        return RemoteKernel(self)

    def kernel_ids(self) -> list[str]:
        """Of all that run in it."""
        status, kernels = self.person.ask("GET", f"{self.base.removeprefix(self.site.url)}/api/kernels")
        assert status == 200, kernels
        return [each["id"] for each in kernels]

    def run(self, code: str, timeout_s: float = 60) -> str:
        """What `code` prints in a kernel of its own."""
        return self.kernel().run(code, timeout_s)

    def stop(self) -> None:
        """Through JupyterHub; returns when the service says that the job has ended."""
        status, body = self.person.hub("DELETE", self.person.place_of(self.job["name"]))
        assert status in (202, 204), body
        self.site.wait_for_job(self.job["id"], "ended")


class RemoteKernel:
    """One kernel by its id. Every call is a connection of its own, as after a browser's reload."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self.id = notebook.site.talk(self._start())

    async def _start(self) -> str:
        async with self._session() as session:
            return (await Kernel.start(session, self._notebook.base, self._notebook.person.token)).id

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._notebook.site.trust))

    def execute(self, code: str, timeout_s: float = 60) -> Result:
        """Run it to its end, whatever comes of it."""
        return self._notebook.site.talk(self._execute(code, timeout_s))

    async def _execute(self, code: str, timeout_s: float) -> Result:
        async with self._session() as session:
            kernel = Kernel(session, self._notebook.base, self.id, self._notebook.person.token)
            return await kernel.execute(code, timeout_s)

    def run(self, code: str, timeout_s: float = 60) -> str:
        """What it prints; a traceback is a failure."""
        return self.execute(code, timeout_s).checked().text


class Person:
    """Logged in: `token` is one that they made for themselves with the cookie that the link gave."""

    def __init__(self, site: Entry, name: str) -> None:
        self.site = site
        self.name = name
        self.link = site.sampan("user", "add", name).split()[-1]
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=site.trust), urllib.request.HTTPCookieProcessor(self.cookies)
        )
        self.token = self._make_token()

    def _make_token(self) -> str:
        opener = self._opener
        with opener.open(self.link, timeout=30), opener.open(f"{self.site.url}/hub/token", timeout=30) as page:
            assert page.url.endswith("/hub/token"), page.url
        xsrf = next(str(each.value) for each in self.cookies if (each.name, each.path) == ("_xsrf", "/hub/"))
        url = f"{self.site.url}/hub/api/users/{self.name}/tokens?_xsrf={xsrf}"
        request = urllib.request.Request(url, method="POST", data=b'{"note": "test"}')
        request.add_header("Content-Type", "application/json")
        with opener.open(request, timeout=30) as answer:
            return str(json.loads(answer.read())["token"])

    def browse(self, path: str) -> int:
        """The status of the page that a browser with their cookies is led to."""
        try:
            with self._opener.open(f"{self.site.url}{path}", timeout=60) as page:
                return int(page.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def hub(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """JupyterHub's API."""
        return self.ask(method, f"/hub/api{path}", body)

    def service(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The compute service's API."""
        return self.ask(method, f"/services/sampan/api/v1{path}", body)

    def place_of(self, server: str) -> str:
        """Of one of their servers in JupyterHub's API."""
        return f"/users/{self.name}/servers/{server}" if server else f"/users/{self.name}/server"

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Any path of the site."""
        return self.site.ask(method, path, body, {"Authorization": f"token {self.token}"})

    def start(self, server: str = "", timeout_s: float = 90, **options: Any) -> Notebook:
        """A server of that name with these options (size, project…), when it answers."""
        status, body = self.hub("POST", self.place_of(server), options)
        assert status in (201, 202), body
        path = f"/user/{self.name}/{server}".rstrip("/") + "/api/status"
        deadline = time.monotonic() + timeout_s
        wait_until(lambda: self._answers(path, server, deadline), timeout_s + 5, f"{self.name}'s server")
        return Notebook(self, self.notebook(server))

    def _answers(self, path: str, server: str, deadline: float) -> bool:
        if self.ask("GET", path)[0] == 200:
            return True
        job = self.notebook(server)
        if time.monotonic() > deadline or job["state"] == "ended":
            lines = self.site.admin("GET", f"/jobs/{job['id']}/log")["lines"]
            raise AssertionError("\n".join([f"{self.name}'s server does not answer: {job}", *lines]))
        return False

    def notebook(self, server: str = "") -> dict[str, Any]:
        """The job of the latest server of that name."""
        jobs = [job for job in self.site.jobs(owner=self.name, kind="notebook") if job["name"] == server]
        assert jobs, f"no notebook of {self.name} is known"
        return max(jobs, key=lambda job: str(job["created_at"]))
