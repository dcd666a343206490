"""Workers of a cluster whose host is the test: nobody replaces who ends, and each ends as it is told."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.slurm.installation.site import Site
from tests.support.installation import wait_until
from tests.support.person import Person

PROGRAM = "/home/alice/ends"
ENDING = """#!/usr/bin/python3
# Stands in the place of a worker's Python, as somebody's own program may: ends as $ENDING says.
import os, signal, sys, time
ending = os.environ["ENDING"]
print(f"about to do {ending}", flush=True)
if ending == "hunger":
    kept = []
    while True:
        kept.append(b"x" * 10_000_000)
if ending == "signal":
    os.kill(os.getpid(), signal.SIGSEGV)
if ending == "code":
    sys.exit(3)
if ending == "wait":
    time.sleep(900)
"""


class Crew:
    """One such cluster. Whoever waits renews its lease."""

    def __init__(self, site: Site, person: Person) -> None:
        self.site = site
        self.person = person
        status, answer = person.service("POST", "/clusters", {"name": f"ends-{uuid.uuid4().hex[:8]}"})
        assert status == 200, answer
        self.cluster = answer["cluster"]["id"]
        self._host = {"Authorization": f"Bearer {answer['credential']}"}

    def renew(self) -> dict[str, dict[str, Any]]:
        """The lease; the workers by name."""
        path = f"/services/sampan/api/v1/jobs?cluster={self.cluster}"
        status, answer = self.site.ask("GET", path, None, self._host)
        assert status == 200, answer
        return {job["name"]: job for job in answer["jobs"]}

    def start(self, name: str, size: str, ending: str) -> dict[str, Any]:
        base = {
            "kind": "worker",
            "cluster": self.cluster,
            "project": "lab-a",
            "size": size,
            "interpreter": PROGRAM,
            "env": {"ENDING": ending},
        }
        body = {"batch": uuid.uuid4().hex, "base": base, "items": [{"name": name}]}
        status, answer = self.person.service("POST", "/jobs", body)
        assert status == 200, answer
        assert answer["items"][0]["status"] == "accepted", answer
        return dict(answer["items"][0]["job"])

    def wait(self, *names: str, timeout_s: float = 60) -> None:
        def over() -> bool:
            jobs = self.renew()
            return all(jobs[name]["state"] == "ended" for name in names)

        wait_until(over, timeout_s, f"ends of {names}; {self.site.log('service')[-1500:]}")

    def wait_for_word(self, name: str) -> None:
        """Until its program has written its first line; Slurm calls a job running before that."""
        job_id = self.renew()[name]["id"]
        wait_until(lambda: any(begins(line) for line in read_log(self.person, job_id)), 30, f"first line of {name}")


def slurm_job(crew: Crew, name: str, state: str) -> str:
    """The number of this worker's Slurm job, once Slurm shows it in that state."""
    job_id = crew.renew()[name]["id"]

    def find() -> str:
        for line in crew.site.cluster.ask("squeue", "-a", "-r", "-h", "-o", "%i|%T|%Z").splitlines():
            number, shown, stage = line.split("|")
            batch = crew.site.cluster.shared.parent / stage.lstrip("/") / "batch.json"
            if shown == state and batch.exists() and job_id in batch.read_text():
                return number
        return ""

    return str(wait_until(find, 30, f"{name} {state} in Slurm"))


@contextmanager
def made_crew(site: Site, person: Person) -> Iterator[Crew]:
    program = site.cluster.home(person.name) / "ends"
    program.write_text(ENDING)
    program.chmod(0o755)
    crew = Crew(site, person)
    try:
        yield crew
    finally:
        person.service("DELETE", f"/clusters/{crew.cluster}")


def check_told(person: Person, job: dict[str, Any], code: str, sentence: str, *, has_begun: bool) -> None:
    """The API says why it ended; its person can read the end of what it wrote."""
    assert job["reason"]["code"] == code, job
    assert re.fullmatch(sentence, job["reason"]["text"]), job["reason"]
    lines = read_log(person, job["id"])
    assert sum(begins(line) for line in lines) == has_begun, lines


def read_log(person: Person, job_id: str) -> list[str]:
    """The end of it, by lines."""
    status, log = person.service("GET", f"/jobs/{job_id}/log")
    assert status == 200, log
    return list(log["lines"])


def begins(line: str) -> bool:
    """Whether it is the program's first."""
    return line.startswith("about to do")
