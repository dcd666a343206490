"""The Slurm backend over the real cluster, as the contract suite takes a backend: jobs are alice's, through sudo."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import JobSpec
from sampan_hub.backends.slurm import SlurmBackend
from sampan_hub.backends.slurm.acting import Acting
from sampan_hub.backends.slurm.names import parse_job_name
from sampan_hub.jobs.keys import make_instance_id, make_job_id, sign
from sampan_hub.jobs.model import Resources
from sampan_hub.settings.model import Environment
from sampan_hub.settings.slurm import SlurmBackend as Settings
from tests.contract.local_jobs import SIGNING_KEY, SMALL, make_spec
from tests.testbeds.slurm.cluster import Cluster
from tests.testbeds.slurm.profile import ALICE

PYTHON = "/usr/bin/python3.11"
ENVIRONMENT = "env"
"""A folder of /shared with a Python, as an environment on shared storage is one."""


class SlurmRig:
    """One backend of a random instance. `program`: `sampan-run-as` on the hub host."""

    patience_s = 20.0

    def __init__(self, slurm: Cluster, program: str, folder: Path, **settings: Any) -> None:
        self.slurm = slurm
        self.instance = make_instance_id()
        self.folder = folder
        self.acting = Acting((*slurm.hub.entering("sampan"), "sudo", "-n", "--", program))
        self.settings = Settings(
            kind="slurm",
            partition="compute",
            walltime=1800,
            commands=slurm.commands(folder / "bin", slurm.hub, "sampan"),
            **settings,
        )
        self._make_environment()
        self._exits = slurm.home("alice") / "exits"
        self._exits.mkdir(exist_ok=True)
        profile = slurm.profile
        self.total = Resources(
            profile.nodes * profile.cpus * 1000, profile.nodes * (profile.memory_mb << 20), 2 * profile.gpu_nodes
        )
        self.backend: SlurmBackend = self.reopen()

    def _make_environment(self) -> None:
        python = self.slurm.shared / ENVIRONMENT / "bin/python"
        python.parent.mkdir(parents=True, exist_ok=True)
        if not python.is_symlink():
            python.symlink_to(PYTHON)

    def reopen(self, **options: Any) -> SlurmBackend:
        """The backend as a restarted service makes it."""
        if hasattr(self, "backend"):
            self.backend.close()
        self.backend = SlurmBackend(
            "slurm",
            self.settings,
            self.instance,
            signing_key=SIGNING_KEY,
            acting=self.acting,
            journal=self.folder / "journal.sqlite",
            environments={"default": Environment(prefix=Path("/shared", ENVIRONMENT))},
            capacity_gap_s=0.0,
            **options,
        )
        return self.backend

    def spec(self, resources: Resources = SMALL, **options: Any) -> JobSpec:
        """A job of alice's that runs until it is stopped or `let_end`."""
        script = 'echo up; until read code 2>/dev/null < "$HOME/exits/$SAMPAN_JOB"; do sleep 0.05; done; exit $code'
        options = {"argv": ("sh", "-c", script), "owner": "alice", "uid": ALICE.uid, "folder": "~", **options}
        return make_spec(self.instance, resources=resources, **options)

    def batch(self, count: int, resources: Resources = SMALL) -> list[JobSpec]:
        """That many jobs of alice's, asked for together."""
        first = self.spec(resources)
        specs = [first]
        for index in range(1, count):
            job_id = make_job_id(self.instance, first.identity.batch, index)
            identity = replace(first.identity, job_id=job_id, index=index, name=f"w-{index}")
            specs.append(replace(first, identity=sign(SIGNING_KEY, identity)))
        return specs

    def slurm_job(self, job_id: str) -> int:
        """The number of the job in Slurm, by its name."""
        names = self.slurm.ask("squeue", "-h", "-a", "-t", "all", "-o", "%A|%j").split()
        (found,) = [line for line in names if self._is_of(line.split("|")[1], job_id)]
        return int(found.split("|")[0])

    @staticmethod
    def _is_of(name: str, job_id: str) -> bool:
        read = parse_job_name(name)
        return read is not None and read.job_id(None) == job_id

    async def until_purged(self, job_id: str) -> None:
        """Until the controller shows the job no more, in no state."""
        deadline = time.monotonic() + 90
        while any(
            self._is_of(name, job_id) for name in self.slurm.ask("squeue", "-h", "-a", "-t", "all", "-o", "%j").split()
        ):
            assert time.monotonic() < deadline, "the controller does not forget it"
            await asyncio.sleep(0.5)

    def let_end(self, job_id: str, code: int) -> None:
        part = self._exits / f"{job_id}.part"
        part.write_text(f"{code}\n")
        part.chmod(0o644)
        part.rename(self._exits / job_id)

    def set_reachable(self, reachable: bool) -> None:
        if reachable:
            self.slurm.start_slurmctld()
        else:
            self.slurm.slurmctld.stop()

    async def close(self) -> None:
        self.backend.close()
