"""Jobs that really end in every way Slurm knows: each says why in a sentence, and the end of its log can be read."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.slurm.installation.person import Person
from tests.slurm.installation.site import Site
from tests.support.installation import wait_until

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
SENTENCES = {
    "hunger": ("out-of-memory", r"The job needed more than its 200 MiB of memory\. Choose a bigger size\."),
    "walltime": ("walltime", r"Its time was up: it ran for its whole walltime of 1 minute\."),
    "node": ("node-failed", r"The machine it ran on, node2, failed\. Start it again\."),
    "own-cancel": ("cancelled", r"The job was cancelled in Slurm by alice, whose job it was\."),
    "admin-cancel": ("cancelled", r"The job was cancelled in Slurm by root\."),
    "code": ("failed", r"The job ended with exit code 3\."),
    "signal": ("killed", r"The job was ended by signal 11\."),
    "done": ("finished", r"The job finished\."),
    "waiting-cancel": ("cancelled", r"The job was cancelled in Slurm by alice, whose job it was\."),
    "odd": ("slurm-constraint", r".*nvalid feature.*An administrator corrects the constraint.*"),
}
NEVER_BEGAN = {"waiting-cancel", "odd"}
TIMED_OUT_S = 200
"""Slurm looks for ends of walltimes every half minute, and gives the job half a minute more."""


class Crew:
    """Workers of a cluster whose host is this test: it renews the lease, and nobody replaces who ends."""

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


@pytest.fixture(scope="module")
def crew(site: Site, alice: Person) -> Iterator[Crew]:
    program = site.cluster.home("alice") / "ends"
    program.write_text(ENDING)
    program.chmod(0o755)
    crew = Crew(site, alice)
    yield crew
    alice.service("DELETE", f"/clusters/{crew.cluster}")


@pytest.fixture(scope="module")
def ended(site: Site, crew: Crew) -> dict[str, dict[str, Any]]:
    """Everything at once, because a minute's walltime takes two."""
    cluster = site.cluster
    crew.start("walltime", "flash", "wait")
    for name, size in (("hunger", "tiny"), ("code", "tiny"), ("signal", "tiny"), ("done", "tiny")):
        crew.start(name, size, name)
    crew.start("odd", "odd", "wait")
    for name, size in (("own-cancel", "tiny"), ("admin-cancel", "tiny"), ("node", "second")):
        crew.start(name, size, "wait")
    slurm_job(crew, "node", "RUNNING")
    cluster.hub.run(["scancel", slurm_job(crew, "own-cancel", "RUNNING")], user="alice", check=True)
    cluster.ask("scancel", slurm_job(crew, "admin-cancel", "RUNNING"))
    crew.wait("hunger", "code", "signal", "done", "own-cancel", "admin-cancel", "odd")
    cluster.crash("node2")
    cluster.declare_down("node2")
    crew.wait("node")
    crew.start("waiting-cancel", "second", "wait")
    cluster.hub.run(["scancel", slurm_job(crew, "waiting-cancel", "PENDING")], user="alice", check=True)
    crew.wait("waiting-cancel", "walltime", timeout_s=TIMED_OUT_S)
    return crew.renew()


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


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", SENTENCES)
def test_the_end_is_told(site: Site, alice: Person, ended: dict[str, dict[str, Any]], name: str) -> None:
    job = ended[name]
    code, sentence = SENTENCES[name]
    assert job["reason"]["code"] == code, job
    assert re.fullmatch(sentence, job["reason"]["text"]), job["reason"]
    status, log = alice.service("GET", f"/jobs/{job['id']}/log")
    assert status == 200, log
    wanted = [] if name in NEVER_BEGAN else [line for line in log["lines"] if line.startswith("about to do")]
    assert len(wanted) == (0 if name in NEVER_BEGAN else 1), log


def test_figures_of_the_end(ended: dict[str, dict[str, Any]]) -> None:
    assert ended["code"]["exit"]["code"] == 3
    assert ended["signal"]["exit"]["signal"] == 11
    assert ended["walltime"]["ended_at"] >= ended["walltime"]["deadline"]
