"""What faults happen to: two light installations on one cluster, people's jobs on them, and a judge for each."""

from __future__ import annotations

import threading

from tests.slurm.faults.ground import Ground
from tests.slurm.faults.judge import Judge, Row
from tests.slurm.faults.light import Light
from tests.support.installation import wait_until

STANDING = {"one": {"alice": 4, "bob": 2}, "two": {"alice": 1, "bob": 1}}


class World:
    """`one` is what faults happen to; `two` lives beside it and must not notice."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.slurm = ground.slurm
        self.one, self.two = Light(ground, "one"), Light(ground, "two")
        self.judges = {light.name: Judge(self.slurm, light) for light in self.lights}
        self.bob = threading.Lock()
        """Held by who needs bob's home as it is, or changes it."""
        self._standing = {name: {owner: list[str]() for owner in owners} for name, owners in STANDING.items()}

    @property
    def lights(self) -> tuple[Light, Light]:
        return self.one, self.two

    def begin(self) -> None:
        for light in self.lights:
            light.start()
        self.stand()

    def end(self) -> None:
        """Stop everything that the installations know, and them."""
        for light in self.lights:
            still_open = [job_id for job_id, job in light.jobs().items() if job["state"] != "ended"]
            if still_open:
                light.stop(*still_open)
                light.until_ended(*still_open)
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
        """Jobs that only a fault of their node may end."""
        return self._all("one")

    @property
    def theirs(self) -> list[str]:
        """Those of the second installation."""
        return self._all("two")

    def expect_loss(self, *job_ids: str) -> None:
        """These may end: what happens to them is somebody's decision."""
        for ids in (ids for owners in self._standing.values() for ids in owners.values()):
            ids[:] = [job_id for job_id in ids if job_id not in job_ids]

    def lose_node(self, node: str) -> list[str]:
        """Everything there may end; the jobs of the first installation among it."""
        on = {
            name: [row.job_id for row in judge.rows() if row.is_alive and row.node == node]
            for name, judge in self.judges.items()
        }
        self.expect_loss(*on["one"], *on["two"])
        return on["one"]

    def check(self) -> None:
        """Nothing standing was lost, nobody's jobs were touched, and both judges are content."""
        self.one.until_running(*self.standing)
        self.two.until_running(*self.theirs)
        for judge in self.judges.values():
            judge.until_content()

    # Jobs.

    def running(self, owner: str = "alice", *, size: str = "tiny") -> str:
        """The id of a new job that runs."""
        (job_id,) = self.one.submit(owner, size=size)
        self.one.until_running(job_id)
        return job_id

    def waiting(self, owner: str = "alice") -> Row:
        """A new job that Slurm has and does not start before `let_start`: nothing starts in the partition gpu."""
        self.slurm.ask("scontrol", "update", "PartitionName=gpu", "State=DOWN")
        (job_id,) = self.one.submit(owner, size="shelf")
        self.one.until(job_id, lambda job: job["state"] == "queued", "waits")
        return self.row(job_id)

    def let_start(self, row: Row) -> None:
        """It moves to where there is room."""
        self.slurm.ask("scontrol", "update", f"JobId={row.raw_id}", "Partition=compute")

    def row(self, job_id: str) -> Row:
        """The job as Slurm shows it."""

        def found() -> list[Row]:
            return [row for row in self.judges["one"].rows() if row.job_id == job_id and row.is_alive]

        return next(iter(wait_until(found, 20, f"Slurm shows {job_id}")))

    def stop(self, *job_ids: str) -> None:
        """As their people do; until it is so."""
        self.one.stop(*job_ids)
        self.one.until_ended(*job_ids)

    def stage(self, row: Row) -> str:
        """The stage of the job, as the machines see it."""
        return self.slurm.job(int(row.raw_id))["WorkDir"]
