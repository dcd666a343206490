"""What faults on Kubernetes happen to."""

from __future__ import annotations

from contextlib import suppress

from tests.chaos.kinds import Kinds
from tests.chaos.world import World
from tests.judge.pods import Pod
from tests.kube.faults.ground import Ground
from tests.kube.faults.judge import Judge
from tests.kube.faults.light import PodsLight
from tests.support.installation import wait_until

STANDING = {"one": {"alice": 3, "bob": 2}, "two": {"alice": 1, "bob": 1}}


class KubeWorld(World[PodsLight, Judge]):
    """Both in one namespace; `two` asks the API server itself."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.kube = ground.kube
        super().__init__(PodsLight(ground, "one", direct=False), PodsLight(ground, "two", direct=True), STANDING)

    def make_judge(self, light: PodsLight) -> Judge:
        return Judge(light)

    def check_end(self) -> None:
        for judge in self.judges.values():
            judge.until_nothing_is_left()

    # Jobs.

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
