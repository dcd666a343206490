"""What faults on Slurm happen to."""

from __future__ import annotations

import threading

from tests.chaos.kinds import Kinds
from tests.chaos.world import World
from tests.slurm.faults.ground import Ground
from tests.slurm.faults.judge import Judge, Row
from tests.slurm.faults.light import HubHostLight
from tests.support.installation import wait_until

STANDING = {"one": {"alice": 4, "bob": 2}, "two": {"alice": 1, "bob": 1}}


class SlurmWorld(World[HubHostLight, Judge]):
    """Both on one cluster. `bob` is held by who needs bob's home as it is, or changes it."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.slurm = ground.slurm
        self.bob = threading.Lock()
        super().__init__(HubHostLight(ground, "one"), HubHostLight(ground, "two"), STANDING)

    def make_judge(self, light: HubHostLight) -> Judge:
        return Judge(self.slurm, light)

    def lose_node(self, node: str) -> list[str]:
        """Everything there may end; the jobs of the first installation among it."""
        on = {
            name: [row.job_id for row in judge.rows() if row.is_alive and row.node == node]
            for name, judge in self.judges.items()
        }
        self.expect_loss(*on["one"], *on["two"])
        return on["one"]

    # Jobs.

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

    def stage(self, row: Row) -> str:
        """The stage of the job, as the machines see it."""
        return self.slurm.job(int(row.raw_id))["WorkDir"]


KINDS: Kinds[SlurmWorld] = Kinds()
