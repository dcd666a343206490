"""What faults happen to: two light installations in one namespace, people's jobs on them, and a judge for each."""

from __future__ import annotations

from contextlib import suppress

from tests.chaos.kinds import Kinds
from tests.judge.pods import Pod
from tests.kube.faults.ground import Ground
from tests.kube.faults.judge import Judge
from tests.kube.faults.light import Light
from tests.support.installation import wait_until

STANDING = {"one": {"alice": 3, "bob": 2}, "two": {"alice": 1, "bob": 1}}


class KubeWorld:
    """`one` is what faults happen to; `two` lives beside it and must not notice."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.kube = ground.kube
        self.one, self.two = Light(ground, "one", direct=False), Light(ground, "two", direct=True)
        self.judges = {light.name: Judge(light) for light in self.lights}
        self._standing = {name: {owner: list[str]() for owner in owners} for name, owners in STANDING.items()}

    @property
    def lights(self) -> tuple[Light, Light]:
        return self.one, self.two

    def begin(self) -> None:
        for light in self.lights:
            light.start()
        self.stand()

    def end(self) -> None:
        """Stop everything that the installations know; then nothing of theirs is there, and they end."""
        try:
            for light in self.lights:
                still_open = [job_id for job_id, job in light.jobs().items() if job["state"] != "ended"]
                if still_open:
                    light.stop(*still_open)
                    light.until_ended(*still_open)
            for judge in self.judges.values():
                judge.until_nothing_is_left()
        finally:
            for light in self.lights:
                light.end()

    def stand(self) -> None:
        """As many standing jobs as there should be, those of one person asked for together; all run."""
        for light in self.lights:
            for owner, ids in self._standing[light.name].items():
                missing = STANDING[light.name][owner] - len(ids)
                if missing:
                    ids += light.submit(owner, missing)
        self.one.until_running(*self.standing)
        self.two.until_running(*self.theirs)

    def _all(self, name: str) -> list[str]:
        return [job_id for ids in self._standing[name].values() for job_id in ids]

    @property
    def standing(self) -> list[str]:
        """Jobs that nothing may end."""
        return self._all("one")

    @property
    def theirs(self) -> list[str]:
        """Those of the second installation."""
        return self._all("two")

    def expect_loss(self, *job_ids: str) -> None:
        """These may end: what happens to them is somebody's decision."""
        for ids in (ids for owners in self._standing.values() for ids in owners.values()):
            ids[:] = [job_id for job_id in ids if job_id not in job_ids]

    def check(self) -> None:
        """Nothing standing was lost, nobody's jobs were touched, and both judges are content."""
        self.one.until_running(*self.standing)
        self.two.until_running(*self.theirs)
        for judge in self.judges.values():
            judge.until_content()

    # Jobs.

    def running(self, owner: str = "alice", *, fault: str = "") -> str:
        """The id of a new job that runs."""
        (job_id,) = self.one.submit(owner, fault=fault)
        self.one.until_running(job_id)
        return job_id

    def waiting(self, count: int = 1, owner: str = "alice") -> list[str]:
        """New jobs whose pods are there and wait for a node that does not exist."""
        ids = self.one.submit(owner, count, size="shelf")
        for job_id in ids:
            self.one.until(job_id, lambda job: job["state"] == "queued" and job["reason"] is not None, "waits")
        return ids

    def pod(self, job_id: str) -> Pod:
        """As kubectl shows it; raises LookupError where it is not there."""
        for pod in self.judges["one"].pods():
            if pod.job_id == job_id:
                return pod
        raise LookupError(f"no pod of {job_id}")

    def is_gone(self, job_id: str) -> bool:
        with suppress(LookupError):
            self.pod(job_id)
            return False
        return True

    def stop(self, *job_ids: str) -> None:
        """As their people do; until it is so."""
        self.one.stop(*job_ids)
        self.one.until_ended(*job_ids)

    def kubectl(self, *words: str, **more: str) -> str:
        """In the namespace."""
        return self.kube.kubectl(*words, "--namespace", self.ground.namespace, **more)

    def until_waiting_for(self, job_id: str, code: str, timeout_s: float = 60) -> None:
        """The person is told this reason."""
        told = self.one.until(
            job_id, lambda job: (job["reason"] or {}).get("code") == code, f"is told {code}", timeout_s
        )
        assert told["state"] != "ended", told

    def until_found(self, code: str, subject: str) -> None:
        """Administrators are shown it."""
        wait_until(lambda: (code, subject) in self.one.findings(), 30, f"{code} {subject} is shown to administrators")


KINDS: Kinds[KubeWorld] = Kinds()
