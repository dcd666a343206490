"""A class: everybody opens the teacher's one link at once, in servers of their own, and computes on a cluster.

Students are HTTP and websocket clients that do what a browser does: login link, spawn form, progress, nbgitpuller,
the file, a kernel. Every status they are answered with is counted.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.paths import StatePaths
from tests.judge.processes import processes_with_key
from tests.support.installation import Installation
from tests.support.kernels import Kernel

MIB = 2**20
NOTEBOOK_MIB, WORKER_MIB = 352, 160
"""What a server with one kernel and a cluster's host, and a worker with one small task, are given."""
COURSE, LESSON = "course", "lesson.ipynb"
END_S_PER_STUDENT = 5
LAST_WORDS = 600
CELL = """
import time
begun = time.monotonic()
from sampan import Cluster
imported = time.monotonic()
cluster = Cluster(1, size="worker")
client = cluster.get_client()
there = time.monotonic()
print("answer", client.submit(pow, {number}, 2).result(timeout={timeout_s}))
print("took", imported - begun, there - imported, time.monotonic() - there)
"""
SETTINGS = """
profile: site
login: links
isolation: none
sizes:
  notebook: {{cores: 0.5, memory: {notebook}M}}
  worker: {{cores: 0.5, memory: {worker}M}}
default_size: notebook
backends: {{local: {{kind: local, cores: 2, overcommit: 64, memory: {memory}M}}}}
"""


def student_names(count: int) -> list[str]:
    return [f"student{number:02}" for number in range(1, count + 1)]


@contextmanager
def running_class(folder: Path, size: int) -> Iterator[Classroom]:
    """A site with room for `size` students and their workers, not for one student more."""
    memory = size * (NOTEBOOK_MIB + WORKER_MIB)
    site = Installation(folder / "site", SETTINGS.format(notebook=NOTEBOOK_MIB, worker=WORKER_MIB, memory=memory))
    try:
        site.start()
        site.wait_for_fork_servers()
        yield Classroom(site, make_course(folder), enrol(site, size + 1))
    finally:
        try:
            site.stop(timeout_s=60 + END_S_PER_STUDENT * size)
        finally:
            end_what_is_left(site)


def end_what_is_left(site: Installation) -> None:
    """Whatever happened, nothing of a class runs on: not even what its own service could not end in time."""
    for process in processes_with_key(site.instance):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def make_course(folder: Path) -> str:
    """A git repository with one lesson; its address."""
    course = folder / COURSE
    course.mkdir()
    lesson = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (course / LESSON).write_text(json.dumps(lesson))
    who = ["-c", "user.name=teacher", "-c", "user.email=teacher@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-q", "-m", "First lesson"]):
        subprocess.run(["git", *words], cwd=course, check=True)
    return f"file://{course}"


def enrol(site: Installation, count: int) -> dict[str, str]:
    """Everybody on the roster, with the personal link that `sampan user add` prints."""
    roster = site.folder / "roster.txt"
    roster.write_text("# the course\n" + "\n".join(student_names(count)) + "\n")
    printed = site.run("user", "add", "--file", str(roster)).stdout
    links = dict(re.findall(r"^(\S+)\s+(http\S+)$", printed, re.MULTILINE))
    assert list(links) == student_names(count), printed
    return links


@dataclass(slots=True)
class Classroom:
    site: Installation
    repository: str
    links: dict[str, str]

    @property
    def lesson_path(self) -> str:
        """What the teacher puts into the course page, without the host."""
        query = {"repo": self.repository, "branch": "main", "urlpath": f"lab/tree/{COURSE}/{LESSON}"}
        return f"/hub/user-redirect/git-pull?{urlencode(query)}"

    def link_of(self, name: str) -> str:
        """The personal link that leads on to the lesson."""
        return f"{self.links[name]}&next={quote(self.lesson_path, safe='')}"

    @asynccontextmanager
    async def students(self, names: Sequence[str]) -> AsyncIterator[list[Student]]:
        """Everybody of these, each with cookies of their own and a token for the service's answers."""
        students = [Student(self, name) for name in names]
        try:
            yield students
        finally:
            for student in students:
                await student.session.close()

    def memory_bytes(self) -> int:
        """What all processes of the site and its jobs hold now, shared pages counted once."""
        own = {self.site.process(name) for name in ("proxy", "hub", "service")}
        jobs = {process.pid for process in processes_with_key(self.site.instance)}
        return sum(proportional_bytes(pid) for pid in own | jobs)

    def cli_token(self) -> str:
        return read_key(StatePaths(self.site.state).key("cli-token")).decode()


def proportional_bytes(pid: int) -> int:
    """PSS; 0 for what ended meanwhile."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) * 1024 if found else 0


@dataclass(slots=True)
class Times:
    """Seconds: from the click on the link to the file, from the start of a kernel to the result."""

    file_open: float = 0.0
    result: float = 0.0
    kernel: float = 0.0
    """Of the result's: until the kernel runs the cell; then its import, the cluster, and the task with its worker."""
    importing: float = 0.0
    cluster: float = 0.0
    task: float = 0.0


class Student:
    """One person in front of a browser, as far as the servers can tell."""

    def __init__(self, classroom: Classroom, name: str) -> None:
        self.classroom = classroom
        self.name = name
        self.times = Times()
        self.statuses: Counter[int] = Counter()
        self._token = ""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._count)
        trace.on_request_redirect.append(self._count)
        jar = aiohttp.CookieJar(unsafe=True)
        timeout = aiohttp.ClientTimeout(total=600)
        self.session = aiohttp.ClientSession(cookie_jar=jar, trace_configs=[trace], timeout=timeout)

    async def _count(self, _session: object, _context: object, ended: Any) -> None:
        self.statuses[ended.response.status] += 1

    @property
    def base(self) -> str:
        return f"{self.classroom.site.url}/user/{self.name}"

    # The way in.

    async def open_lesson(self) -> None:
        """From the click on the link to the lesson in JupyterLab."""
        begun_s = time.monotonic()
        await self.ask_for_server()
        await self.wait_for_server()
        await self.pull_course()
        self.times.file_open = time.monotonic() - begun_s

    async def ask_for_server(self) -> str:
        """Log in by the link, fill in the spawn form; the page that says what one waits for."""
        url, body = await self._get(self.classroom.link_of(self.name))
        assert URL(url).path == f"/hub/spawn/{self.name}", url
        action = re.search(r'action="([^"]+)"\s+method="post"', body)
        assert action, body
        target = URL(url).join(URL(html.unescape(action[1])))
        async with self.session.post(target, data={"size": "notebook"}) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.url.path in (f"/hub/spawn-pending/{self.name}", f"/user/{self.name}/git-pull"), answer.url
            assert quote(self.classroom.repository, safe="") in str(answer.url.raw_query_string).replace("%25", "%")
            return await answer.text()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the pending page is told, until its last word."""
        headers = {"Authorization": f"token {await self.token()}"}
        url = f"{self.classroom.site.url}/hub/api/users/{self.name}/server/progress"
        async with self.session.get(url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    async def wait_for_server(self) -> None:
        """Until the page says that it is ready; AssertionError with its words if it failed."""
        async for message in self.messages():
            assert not message.get("failed"), message
            if message.get("ready"):
                return
        raise AssertionError(f"{self.name}: the progress ended without a word")

    async def pull_course(self) -> None:
        """What nbgitpuller's page does, and then the file that it leads to."""
        url, _ = await self._get(f"{self.classroom.site.url}{self.classroom.lesson_path}")
        assert URL(url).path == f"/user/{self.name}/git-pull", url
        said = await self._read_events(f"{self.base}/git-pull/api?{URL(url).raw_query_string}")
        assert any(event["phase"] == "finished" for event in said), said
        await self._get(f"{self.base}/{URL(url).query['urlpath']}")
        _, body = await self._get(f"{self.base}/api/contents/{COURSE}/{LESSON}")
        assert json.loads(body)["type"] == "notebook", body

    async def reload(self) -> None:
        """The link once more: straight to the lesson, without a form."""
        url, _ = await self._get(self.classroom.link_of(self.name))
        assert URL(url).path == f"/user/{self.name}/git-pull", url

    # Work.

    async def compute(self, number: int, timeout_s: float) -> None:
        """One task on a cluster of one worker; the cluster stays."""
        begun_s = time.monotonic()
        kernel = await Kernel.start(self.session, self.base, await self.token())
        done = (await kernel.execute(CELL.format(number=number, timeout_s=timeout_s), timeout_s)).checked()
        assert f"answer {number**2}" in done.text, done.text
        self.times.result = time.monotonic() - begun_s
        took = re.search(r"^took (.*)$", done.text, re.MULTILINE)
        assert took, done.text
        self.times.importing, self.times.cluster, self.times.task = map(float, took[1].split())
        self.times.kernel = self.times.result - self.times.importing - self.times.cluster - self.times.task

    async def jobs(self) -> list[dict[str, Any]]:
        """Their jobs that have not ended."""
        headers = {"Authorization": f"token {await self.token()}"}
        url = f"{self.classroom.site.url}/services/sampan/api/v1/jobs?owner={self.name}"
        async with self.session.get(url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return [job for job in (await answer.json())["jobs"] if job["state"] != "ended"]

    async def stop_server(self) -> None:
        headers = {"Authorization": f"token {await self.token()}"}
        url = f"{self.classroom.site.url}/hub/api/users/{self.name}/server"
        async with self.session.delete(url, headers=headers) as answer:
            assert answer.status in (202, 204), await answer.text()

    async def token(self) -> str:
        """A token of theirs, as their hub page would give them one."""
        if not self._token:
            headers = {"Authorization": f"token {self.classroom.cli_token()}"}
            url = f"{self.classroom.site.url}/hub/api/users/{self.name}/tokens"
            async with self.session.post(url, json={"note": "class"}, headers=headers) as answer:
                assert answer.status == 201, await answer.text()
                self._token = (await answer.json())["token"]
        return self._token

    async def _get(self, url: str) -> tuple[str, str]:
        """Where one arrives and what one reads there."""
        async with self.session.get(url) as answer:
            body = await answer.text()
            assert answer.status == 200, (answer.status, str(answer.url), body)
            return str(answer.url), body

    async def _read_events(self, url: str) -> list[dict[str, Any]]:
        async with self.session.get(URL(url, encoded=True)) as answer:
            assert answer.status == 200, await answer.text()
            return [json.loads(line[6:]) async for line in answer.content if line.startswith(b"data: ")]


@dataclass(slots=True)
class Report:
    """What a class was like. `times`: of everybody; the first of them sat in front of a real browser."""

    times: list[Times] = field(default_factory=list)
    load_before: float = 0.0
    memory_bytes: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A few lines for whoever ran it."""
        opened = [times.file_open for times in self.times if times.file_open]
        results = [times for times in self.times if times.result]
        return "\n".join(
            [
                f"students with the lesson open: {len(opened)} ({_spread(opened)})",
                f"  one in a real browser:       {self.times[0].file_open:.1f} s",
                f"results from a cluster each:   {len(results)} ({_spread([times.result for times in results])})",
                f"  until the kernel runs:       {_spread([times.kernel for times in results])}",
                f"  from sampan import Cluster:  {_spread([times.importing for times in results])}",
                f"  Cluster(1), get_client():    {_spread([times.cluster for times in results])}",
                f"  first task, with its worker: {_spread([times.task for times in results])}",
                f"memory of everything then:     {self.memory_bytes / MIB:,.0f} MiB",
                f"answers 429:                   {self.statuses[429]}",
                f"failures:                      {len(self.failures)}",
                *(f"  {failure}" for failure in self.failures),
                f"machine:                       {os.cpu_count()} cores, load average {self.load_before:.1f} before",
            ]
        )


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"median {ordered[len(ordered) // 2]:.1f} s, slowest {ordered[-1]:.1f} s" if ordered else "none"


async def everybody(doing: Sequence[Any], names: Sequence[str], what: str) -> list[str]:
    """All at once; a sentence for each who failed."""
    done = await asyncio.gather(*doing, return_exceptions=True)
    return [f"{name} could not {what}: {_last_words(error)}" for name, error in zip(names, done, strict=True) if error]


def _last_words(error: object) -> str:
    """What it says, and of a long traceback of a kernel the end, without its colours."""
    return f"{type(error).__name__}: " + re.sub(r"\x1b\[[0-9;]*m", "", str(error))[-LAST_WORDS:]
