"""How a light installation's service is spoken to, through its death and return: every request may be repeated."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from sampan_hub.jobs.keys import make_credential
from tests.support.installation import wait_until

API = "services/sampan/api/v1"
ANSWER_S = 60
Job = dict[str, Any]
Speaker = Literal["hub", "admin"]
SUBJECTS: dict[Speaker, str] = {"hub": "hub", "admin": "cli"}


class Asking(ABC):
    """`url`: of the installation, without a slash at its end. `state`: its state folder."""

    def __init__(self, name: str, url: str, state: Path, trust: ssl.SSLContext) -> None:
        self.name, self.url, self.state = name, url, state
        self._trust = trust
        self._numbers = itertools.count()

    @abstractmethod
    def revive(self) -> None:
        """Start the service again if it died."""

    @abstractmethod
    def make_base(self, owner: str, size: str, fault: str) -> dict[str, Any]:
        """What the notebooks of one request share; `fault` is what their program is to do wrong."""

    @property
    def instance(self) -> str:
        return (self.state / "instance").read_text().strip()

    def call(self, method: str, path: str, body: Any = None, speaker: Speaker = "hub") -> Any:
        """The answer; asked again while there is none."""

        def attempt() -> list[Any]:
            self.revive()
            try:
                return [self._once(method, path, body, speaker)]
            except urllib.error.HTTPError as error:
                with error:
                    if error.code in (502, 503):
                        return []
                    said = error.read().decode(errors="replace")
                raise LookupError(f"{method} {path}: {error.code} {said[:300]}") from None
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
                return []

        return wait_until(attempt, ANSWER_S, f"{self.name}: {method} {path}")[0]

    def _once(self, method: str, path: str, body: Any, speaker: Speaker) -> Any:
        key = self.state / "keys/service.key"
        if not key.exists():
            raise ConnectionError("the service has not made its keys yet")
        credential = make_credential(key.read_bytes().strip(), SUBJECTS[speaker], speaker)
        request = urllib.request.Request(
            f"{self.url}/{API}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {credential}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=15, context=self._trust) as answer:
            return json.load(answer)

    # Jobs.

    def make_request(self, owner: str, count: int = 1, size: str = "tiny", fault: str = "") -> dict[str, Any]:
        """Notebooks of one batch; it may be asked again."""
        number = next(self._numbers)
        items = [{"name": f"n{number}-{place}"} for place in range(count)]
        return {"batch": f"batch-{self.name}-{number}", "base": self.make_base(owner, size, fault), "items": items}

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
        found = self.call("GET", "/findings", speaker="admin")["findings"]
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
