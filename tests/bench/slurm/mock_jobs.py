"""Notebooks and workers that only pretend, as real Slurm jobs of the real service: see mock_job.py."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from functools import partial
from typing import Any

from tests.bench.slurm.bed import NAME, Bed
from tests.support.installation import wait_until

READY = "running"
SCHEDULER = "tls://10.88.0.11:31999"
"""Mock workers are told of one, and never speak to it."""
START_TIMEOUT_S = 400.0
AT_ONCE = 60


def submit(bed: Bed, credential: str, base: dict[str, str], names: list[str]) -> list[str]:
    """Ask for jobs; their ids."""
    body = {"batch": uuid.uuid4().hex, "base": base, "items": [{"name": name} for name in names]}
    answer = bed.ask("POST", "/jobs", credential, body)
    assert all(item["status"] == "accepted" for item in answer["items"]), answer["items"][0]
    return [item["job"]["id"] for item in answer["items"]]


def notebooks(bed: Bed) -> list[dict[str, Any]]:
    """The notebooks that run."""
    return bed.site.jobs(kind="notebook", state=READY)


def ensure_notebooks(bed: Bed, count: int) -> None:
    """At least so many run. Few at a time: a computer of two cores that starts hundreds at once loses some."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while (missing := count - len(notebooks(bed))) > 0:
        names = [f"n{uuid.uuid4().hex[:12]}" for _ in range(min(missing, AT_ONCE))]
        ids = set(submit(bed, bed.credential("hub", "hub"), {"kind": "notebook", "owner": NAME}, names))
        left_s = deadline_s - time.monotonic()
        wait_until(partial(are_settled, bed, ids), left_s, f"{count} mock notebooks")


def are_settled(bed: Bed, ids: set[str]) -> bool:
    """Whether each of these notebooks runs, or did not come to it."""
    return ids <= {job["id"] for job in bed.site.jobs(kind="notebook") if job["state"] in (READY, "ended")}


class MockCluster:
    """A cluster of a mock notebook; the bench plays its host."""

    def __init__(self, bed: Bed) -> None:
        ensure_notebooks(bed, 1)
        self.bed = bed
        parent = bed.credential(notebooks(bed)[0]["id"], "notebook")
        made = bed.ask("POST", "/clusters", parent, {"name": f"c{uuid.uuid4().hex[:8]}"})
        self.id: str = made["cluster"]["id"]
        self.credential: str = made["credential"]
        bed.ask("PUT", f"/clusters/{self.id}", self.credential, {"state": "running", "scheduler": SCHEDULER})

    def submit(self, count: int) -> list[str]:
        """One request for so many workers; their ids."""
        names = [f"w{number}" for number in range(count)]
        return submit(self.bed, self.credential, {"kind": "worker", "cluster": self.id}, names)

    def states(self) -> Counter[str]:
        """Of its workers; the lease is renewed by asking."""
        shown = self.bed.ask("GET", f"/jobs?cluster={self.id}", self.credential)
        return Counter(job["state"] for job in shown["jobs"])

    def stop(self, ids: list[str]) -> None:
        """The workers have ended."""
        self.bed.ask("POST", "/jobs/stop", self.credential, {"ids": ids})
        wait_until(lambda: self.states()["ended"] >= len(ids), START_TIMEOUT_S, "the workers' end")
