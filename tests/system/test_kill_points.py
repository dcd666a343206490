"""The service dies at every call that changes anything, one after the other; each time all comes right again.

The job is a notebook whose interpreter is a small program: it claims, listens, reports and waits, as the real one does.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.keyfiles import read_key
from tests.judge.processes import processes_with_key
from tests.judge.verdict import judge
from tests.support.installation import free_port, wait_until

API = "/services/sampan/api/v1"
MOST_POINTS = 60
AT_ONCE = 6
"""Runs side by side: most of the time goes by waiting for calls of the dead to time out."""
HEAL_S = 180
JOB = """#!{python}
import os, signal, socket
with open({starts!r}, "a") as starts:
    starts.write(os.environ["SAMPAN_JOB"] + "\\n")
from sampan import _job
claim = _job.claim_job(_job.read_bootstrap())
listener = socket.create_server(("127.0.0.1", 0))
_job.report(claim.access, address=listener.getsockname())
signal.pause()
"""


class Site:
    """One state folder, and the service on it: mortal at a point, or well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.death = folder / "death"
        self.starts = folder / "starts"
        self.port = free_port()
        self.config = folder / "sampan.yaml"
        self.config.write_text("sizes:\n  small: {cores: 0.1, memory: 64M}\n")
        self.job = folder / "job"
        user_python = Path(sys.prefix) / "user" / "bin" / "python"
        self.job.write_text(JOB.format(python=user_python, starts=str(self.starts)))
        self.job.chmod(0o700)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, die_at: int) -> None:
        """`die_at` 0 never comes."""
        words = ["-m", "tests.support.mortal_service", str(self.port), str(self.config), str(die_at), str(self.death)]
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)

    def revive(self) -> None:
        """Start it again, without its doom, if it died."""
        if self.process is None or self.process.poll() is not None:
            self.start(0)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, asked again through the service's death and return: every request may be repeated."""

        def attempt() -> list[Any]:
            self.revive()
            try:
                return [self._once(method, path, body)]
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
                return []

        return wait_until(attempt, HEAL_S, f"{method} {path}")[0]

    def _once(self, method: str, path: str, body: Any) -> Any:
        key = self.folder / ".sampan" / "keys" / "service.key"
        if not key.exists():
            raise ConnectionError("the service has not made its keys yet")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{API}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {make_credential(read_key(key), 'hub', 'hub')}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def until(self, job_id: str, wanted: Callable[[dict[str, Any]], bool], what: str) -> None:
        wait_until(lambda: wanted(self.call("GET", f"/jobs/{job_id}")), HEAL_S, f"{what}; died {self.died_at()}")

    def died_at(self) -> str:
        return self.death.read_text() if self.death.exists() else "nowhere"

    @property
    def instance(self) -> str:
        return (self.folder / ".sampan" / "instance").read_text().strip()


def live_through(site: Site) -> None:
    """Ask for one notebook, see it run once, stop it, see it gone."""
    base = {"kind": "notebook", "owner": "ana", "size": "small", "interpreter": str(site.job), "folder": "/"}
    request = {"batch": "kill-points", "base": base, "items": [{"name": ""}]}
    job_id = site.call("POST", "/jobs", request)["items"][0]["job"]["id"]
    site.until(job_id, lambda job: job["state"] == "running", "runs")
    assert site.call("POST", "/jobs", request)["items"][0]["job"]["id"] == job_id
    running = processes_with_key(site.instance)
    assert judge(running, {job_id: "running"}, frozenset({job_id})).counts == (0, 0, 0), site.died_at()
    assert any(process.job_id == job_id for process in running), site.died_at()
    site.call("POST", "/jobs/stop", {"ids": [job_id]})
    site.until(job_id, lambda job: job["state"] == "ended", "ended")
    wait_until(lambda: not processes_with_key(site.instance), HEAL_S, f"nothing is left; died {site.died_at()}")
    assert site.starts.read_text().splitlines() == [job_id], f"started once; died {site.died_at()}"


def die_at(at: int, folder: Path) -> str | None:
    """The call at which the service died; None when the run completed before it came to point `at`."""
    folder.mkdir()
    site = Site(folder)
    try:
        site.start(at)
        live_through(site)
    finally:
        site.end()
    return site.died_at() if site.death.exists() else None


@pytest.mark.timeout(900)
def test_it_may_die_at_any_change(tmp_path: Path) -> None:
    begun = time.monotonic()
    deaths: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(1, MOST_POINTS, AT_ONCE):
            points = range(first, first + AT_ONCE)
            found = list(pool.map(lambda at: die_at(at, tmp_path / str(at)), points))
            deaths += [call for call in found if call]
            if None in found:
                break  # a run completed before its doom: every point was met
        else:
            pytest.fail(f"no run completed in {MOST_POINTS} points: {deaths}")
    print(f"{len(deaths)} points in {time.monotonic() - begun:.0f} s: {deaths}")
    met = {call.split()[1] for call in deaths}
    assert met == {"submit", "apply", "backend.submit", "claim", "report", "stop", "backend.cancel"}
