"""What faults happen to: two light installations beside each other, people's jobs on them, and a judge for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from tests.chaos.light import Light

Standing = Mapping[str, Mapping[str, int]]
"""How many jobs of each owner always run, by installation."""
AnyLight = TypeVar("AnyLight", bound=Light)


class AnyJudge(Protocol):
    """Holds what the cluster itself shows against what an installation says."""

    def until_content(self) -> None:
        """Raises AssertionError where it never is."""


SomeJudge = TypeVar("SomeJudge", bound=AnyJudge)


class World(ABC, Generic[AnyLight, SomeJudge]):
    """`one` is what faults happen to; `two` lives beside it and must not notice."""

    def __init__(self, one: AnyLight, two: AnyLight, standing: Standing) -> None:
        self.one, self.two = one, two
        self.judges = {light.name: self.make_judge(light) for light in self.lights}
        self._wanted = standing
        self._standing = {name: {owner: list[str]() for owner in owners} for name, owners in standing.items()}

    @abstractmethod
    def make_judge(self, light: AnyLight) -> SomeJudge:
        """The one who watches this installation."""

    @property
    def lights(self) -> tuple[AnyLight, AnyLight]:
        return self.one, self.two

    def begin(self) -> None:
        for light in self.lights:
            light.start()
        self.stand()

    def end(self) -> None:
        """Stop everything that the installations know, and them."""
        try:
            for light in self.lights:
                still_open = [job_id for job_id, job in light.jobs().items() if job["state"] != "ended"]
                if still_open:
                    light.stop(*still_open)
                    light.until_ended(*still_open)
            self.check_end()
        finally:
            for light in self.lights:
                light.end()

    def check_end(self) -> None:
        """What must be true when everything was stopped. Raises what is not so."""

    def stand(self) -> None:
        """As many standing jobs as there should be, those of one person asked for together; all run."""
        for light in self.lights:
            for owner, ids in self._standing[light.name].items():
                missing = self._wanted[light.name][owner] - len(ids)
                if missing:
                    ids += light.submit(owner, missing)
        self.one.until_running(*self.standing)
        self.two.until_running(*self.theirs)

    def check(self) -> None:
        """Nothing standing was lost, nobody's jobs were touched, and both judges are content. Raises what is not so."""
        self.one.until_running(*self.standing)
        self.two.until_running(*self.theirs)
        for judge in self.judges.values():
            judge.until_content()

    def _all(self, name: str) -> list[str]:
        return [job_id for ids in self._standing[name].values() for job_id in ids]

    @property
    def standing(self) -> list[str]:
        """Jobs that nothing but a fault of theirs may end."""
        return self._all("one")

    @property
    def theirs(self) -> list[str]:
        """Those of the second installation."""
        return self._all("two")

    def expect_loss(self, *job_ids: str) -> None:
        """These may end: what happens to them is somebody's decision."""
        for ids in (ids for owners in self._standing.values() for ids in owners.values()):
            ids[:] = [job_id for job_id in ids if job_id not in job_ids]

    def stop(self, *job_ids: str) -> None:
        """As their people do; until it is so."""
        self.one.stop(*job_ids)
        self.one.until_ended(*job_ids)

    def running(self, owner: str = "alice", *, size: str = "tiny", fault: str = "") -> str:
        """The id of a new job that runs."""
        (job_id,) = self.one.submit(owner, size=size, fault=fault)
        self.one.until_running(job_id)
        return job_id
