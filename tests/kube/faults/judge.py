"""What kubectl shows of a namespace, and which runs were let to work, against what the API says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.asking import Job
from tests.judge.pods import SEEN, Pod, leftovers, pods_of
from tests.kube.faults.light import PodsLight
from tests.support.installation import wait_until

SETTLE_S = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """Each kind of fault; all empty is the only good one."""

    orphans: frozenset[str] = frozenset()
    """Names of pods of which the API knows nothing, or that they ended."""
    duplicates: frozenset[str] = frozenset()
    """Ids under which two runs worked, or two pods are there."""
    false_deaths: frozenset[str] = frozenset()
    """Recorded as ended while the pod works."""
    missing: frozenset[str] = frozenset()
    """Recorded as running, and no pod works."""

    @property
    def is_good(self) -> bool:
        return self == Verdict()


def decide(views: Mapping[str, Job], pods: list[Pod], doubles: set[str]) -> Verdict:
    """Of what was seen of one installation, its API first: what that calls ended must be so from then on."""
    ids = [pod.job_id for pod in pods]
    works = {pod.job_id for pod in pods if pod.works}
    ended = {key for key, job in views.items() if job["state"] == "ended"}
    running = {key for key, job in views.items() if job["state"] == "running" and not job["unknown_since"]}
    return Verdict(
        orphans=frozenset(pod.name for pod in pods if pod.job_id not in views or pod.job_id in ended),
        duplicates=frozenset({key for key in ids if ids.count(key) > 1} | doubles),
        false_deaths=frozenset(works & ended),
        missing=frozenset(running - works),
    )


@dataclass(slots=True)
class Judge:
    """Watches one installation. Pods that others made under our labels are told to it, and left out."""

    light: PodsLight
    forged: set[str] = field(default_factory=set)
    """Their names."""

    def items(self) -> list[Mapping[str, Any]]:
        found = self.light.ground.kube.get(SEEN, namespace=self.light.ground.namespace)["items"]
        return [item for item in found if item["metadata"]["name"] not in self.forged]

    def pods(self) -> list[Pod]:
        return pods_of(self.items(), self.light.instance)

    def verdict(self) -> Verdict:
        """As it is now."""
        views = self.light.jobs()
        return decide(views, self.pods(), self.light.ground.entry.doubles(self.light.instance))

    def until_content(self) -> None:
        """No false death at any time; everything else as soon as things have settled."""
        latest = [Verdict()]

        def is_good() -> bool:
            latest[0] = self.verdict()
            assert not latest[0].false_deaths, f"recorded as ended, and its pod works: {latest[0]}"
            return latest[0].is_good

        try:
            wait_until(is_good, SETTLE_S, "the judge is content")
        except TimeoutError:
            raise AssertionError(f"{self.light.name}: {latest[0]}") from None

    def until_nothing_is_left(self) -> None:
        """A minute after everything was stopped: no pod, policy, secret or claim with our label, but homes."""
        left: set[str] = set()

        def is_clean() -> bool:
            left.clear()
            left.update(leftovers(self.items(), self.light.instance))
            return not left

        try:
            wait_until(is_clean, SETTLE_S, "nothing is left")
        except TimeoutError:
            raise AssertionError(f"{self.light.name} leaves {sorted(left)}") from None
