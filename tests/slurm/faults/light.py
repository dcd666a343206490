"""One light installation: the real service on the hub host, kept running as systemd would, and how it is spoken to."""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
import signal
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sampan_hub.jobs.keys import make_credential
from tests.slurm.faults.ground import CLONE_THERE, FOLDER, INSTALLED, SHARED, Ground
from tests.slurm.faults.settings import render_settings
from tests.support.installation import wait_until
from tests.testbeds.slurm.process import Command

API = "services/sampan/api/v1"
ANSWER_S = 60
_ports = itertools.count(21000)
Job = dict[str, Any]


class Light:
    """`name` is the first part of its URL's path."""

    def __init__(self, ground: Ground, name: str) -> None:
        self.ground = ground
        self.name = name
        self.folder = ground.state / name
        self.there = f"{FOLDER}/{name}"
        self.port = next(_ports)
        self.death = self.folder / "death"
        self._process: Command | None = None
        self._is_held = False
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._trust = ground.trust
        self.folder.mkdir(mode=0o755)
        (self.folder / "sampan.yaml").write_text(render_settings(name, ground.url))
        ground.own(self.folder)
        (ground.state / "routes" / name).write_text(str(self.port))

    # Its process.

    def start(self, die_at: int = 0) -> None:
        """`die_at` 0 never comes."""
        words = ["-m", "tests.slurm.faults.service", str(self.port), f"{self.there}/sampan.yaml"]
        argv = [f"{INSTALLED}/bin/python", *words, str(die_at), f"{self.there}/death"]
        env = {"PYTHONPATH": CLONE_THERE, "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.ground.folder / f"{self.name}.log").open("ab") as log:
            self._process = self.ground.hub.popen(argv, user="sampan", cwd=self.there, env=env, stdout=log, stderr=log)

    def revive(self) -> None:
        """Start it again if it died."""
        with self._lock:
            if not self._is_held and (self._process is None or self._process.poll() is not None):
                self.start()

    def kill(self) -> None:
        """kill -9; it is started again by whoever asks it next."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait(20)

    def while_down(self, change: Callable[[], None]) -> None:
        """kill -9, change something, start."""
        with self._lock:
            self._is_held = True
            try:
                self.kill()
                change()
            finally:
                self._is_held = False
            self.start()

    def end(self) -> None:
        with self._lock:
            self._is_held = True
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                self._process.wait(30)

    def died_at(self) -> str | None:
        """The call at which it died as it was told to."""
        return self.death.read_text() if self.death.exists() else None

    def log(self) -> str:
        file = self.ground.folder / f"{self.name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    # Its database.

    @property
    def database(self) -> Path:
        return self.folder / "state/sampan.sqlite"

    def back_up(self, copy: Path) -> None:
        """What a backup takes while the service runs."""
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

    def wipe(self, *, journal: bool) -> None:
        """The database is gone; with `journal` what the backend remembers, too."""
        stems = [self.database.name, *(["slurm-slurm.sqlite"] if journal else [])]
        for stem in stems:
            for suffix in ("", "-wal", "-shm"):
                (self.database.parent / f"{stem}{suffix}").unlink(missing_ok=True)

    def restore(self, copy: Path) -> None:
        self.wipe(journal=False)
        shutil.copyfile(copy, self.database)
        self.database.chmod(0o600)
        self.ground.own(self.database.parent)

    # What it says.

    @property
    def instance(self) -> str:
        return (self.folder / "state/instance").read_text().strip()

    def call(self, method: str, path: str, body: Any = None, kind: str = "hub") -> Any:
        """The answer, asked again through the service's death and return: every request may be repeated."""

        def attempt() -> list[Any]:
            self.revive()
            try:
                return [self._once(method, path, body, kind)]
            except urllib.error.HTTPError as error:
                with error:
                    if error.code in (502, 503):
                        return []
                    said = error.read().decode(errors="replace")
                raise LookupError(f"{method} {path}: {error.code} {said[:300]}") from None
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
                return []

        return wait_until(attempt, ANSWER_S, f"{self.name}: {method} {path}")[0]

    def _once(self, method: str, path: str, body: Any, kind: str) -> Any:
        key = self.folder / "state/keys/service.key"
        if not key.exists():
            raise ConnectionError("the service has not made its keys yet")
        subject = "hub" if kind == "hub" else "cli"
        credential = make_credential(key.read_bytes().strip(), subject, kind)  # type: ignore[arg-type]
        request = urllib.request.Request(
            f"{self.ground.url}/{self.name}/{API}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {credential}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=15, context=self._trust) as answer:
            return json.load(answer)

    def make_request(self, owner: str, count: int = 1, size: str = "tiny", fault: str = "") -> dict[str, Any]:
        """Notebooks of one batch; it may be asked again."""
        number = next(self._numbers)
        base = {
            "kind": "notebook",
            "owner": owner,
            "size": size,
            "interpreter": f"{SHARED}/program.py",
            "folder": "/",
            "env": {"FAULT": fault},
        }
        items = [{"name": f"n{number}-{place}"} for place in range(count)]
        return {"batch": f"batch-{self.name}-{number}", "base": base, "items": items}

    def ask(self, request: dict[str, Any]) -> list[str]:
        """Their ids."""
        answers = self.call("POST", "/jobs", request)["items"]
        assert all(answer["job"] for answer in answers), answers
        return [answer["job"]["id"] for answer in answers]

    def submit(self, owner: str, count: int = 1, size: str = "tiny", fault: str = "") -> list[str]:
        """Ask for new notebooks; their ids."""
        return self.ask(self.make_request(owner, count, size, fault))

    def stop(self, *job_ids: str) -> None:
        self.call("POST", "/jobs/stop", {"ids": list(job_ids)})

    def job(self, job_id: str) -> Job:
        return dict(self.call("GET", f"/jobs/{job_id}"))

    def jobs(self) -> dict[str, Job]:
        """By id: everything open, and what ended in the last hour."""
        return {job["id"]: job for job in self.call("GET", "/jobs")["jobs"]}

    def findings(self) -> set[tuple[str, str]]:
        """Codes and subjects."""
        found = self.call("GET", "/findings", kind="admin")["findings"]
        return {(finding["code"], finding["subject"]) for finding in found}

    def until(self, job_id: str, wanted: Callable[[Job], bool], what: str, timeout_s: float = 60) -> Job:
        """The job, as soon as it is as wanted."""
        seen: list[Job] = []

        def arrived() -> Job | None:
            try:
                job = self.job(job_id)
            except LookupError:  # a database from before it: not adopted yet
                return None
            seen[:] = [job]
            return job if wanted(job) else None

        try:
            return dict(wait_until(arrived, timeout_s, what))
        except TimeoutError:
            raise AssertionError(f"{self.name}: {job_id} {what}: not within {timeout_s} s; it is {seen}") from None

    def until_running(self, *job_ids: str, timeout_s: float = 60) -> None:
        for job_id in job_ids:
            self.until(job_id, is_running, "runs and is seen", timeout_s)

    def until_ended(self, *job_ids: str, timeout_s: float = 60) -> list[Job]:
        return [self.until(job_id, lambda job: job["state"] == "ended", "has ended", timeout_s) for job_id in job_ids]


def is_running(job: Job) -> bool:
    return bool(job["state"] == "running" and not job["unknown_since"])
