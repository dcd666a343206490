"""One face for every backend under contract: how a test makes specs, lets a job end by itself, breaks the backend."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Protocol

from sampan_hub.backends.base import Backend, JobSpec, Observed, Phase
from sampan_hub.backends.fake import FakeBackend
from sampan_hub.jobs.keys import make_instance_id
from sampan_hub.jobs.model import Exit, Resources
from tests.contract.local_jobs import SMALL, LocalJobs, find, make_spec
from tests.support.fork_environment import ForkEnvironment

WAIT_TO_END = """
import os, pathlib, sys, time
assert "imported" in sys.modules, "it was not forked"
print("up", flush=True)
code = pathlib.Path("{folder}", os.environ["SAMPAN_JOB"])
while not code.exists():
    time.sleep(0.02)
sys.exit(int(code.read_text()))
"""
TOTAL = Resources(cores_milli=8000, memory_bytes=1 << 33)


class Rig(Protocol):
    """What a test needs beside the contract itself."""

    backend: Backend
    total: Resources
    """All that the backend has."""
    patience_s: float
    """How long the machine under it may take for what a test waits for."""

    def spec(self, resources: Resources = SMALL) -> JobSpec:
        """A job that runs until it is stopped or `let_end`."""

    def let_end(self, job_id: str, code: int) -> None:
        """The job ends by itself."""

    def set_reachable(self, reachable: bool) -> None:
        """Whether the backend can be asked."""

    async def close(self) -> None:
        """End everything."""


class LocalRig:
    """Real processes that end when a file tells them to."""

    total = TOTAL
    patience_s = 20.0

    def __init__(self, tmp_path: Path) -> None:
        self._jobs = LocalJobs(
            tmp_path / "jobs", cores_milli=TOTAL.cores_milli, memory_bytes=TOTAL.memory_bytes, stop_grace_s=1.0
        )
        self._exits = tmp_path
        self.backend: Backend = self._jobs.backend

    def spec(self, resources: Resources = SMALL) -> JobSpec:
        script = f'echo up; until read code < "{self._exits}/$SAMPAN_JOB" 2>/dev/null; do sleep 0.02; done; exit $code'
        return self._jobs.spec(("sh", "-c", script), resources=resources)

    def let_end(self, job_id: str, code: int) -> None:
        part = self._exits / f"{job_id}.part"
        part.write_text(f"{code}\n")
        part.rename(self._exits / job_id)

    def set_reachable(self, reachable: bool) -> None:
        hidden = self._jobs.root.with_name("hidden")
        if reachable:
            hidden.rename(self._jobs.root)
        else:
            self._jobs.root.rename(hidden)

    async def close(self) -> None:
        await self._jobs.close()


class ForkRig(LocalRig):
    """The same, forked from a process that has imported everything (here: next to nothing)."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self._environment = ForkEnvironment(tmp_path / "environment")
        prepared = [(self._environment.argv, self._environment.variables)]
        self._jobs.options.update(fork=True, prepared=prepared)
        self.backend = self._jobs.reopen()

    def spec(self, resources: Resources = SMALL) -> JobSpec:
        variables = self._environment.running(WAIT_TO_END.format(folder=self._exits))
        return self._jobs.spec(self._environment.argv, env=variables, resources=resources)

    async def until_ready(self) -> None:
        """Until jobs are forked; before that they are started afresh."""
        deadline = time.monotonic() + 30
        while not any(self._jobs.backend.fork_servers.values()):
            assert time.monotonic() < deadline, "the fork server is not ready"
            await self.backend.observe()
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await super().close()
        self._jobs.backend.close()


class FakeRig:
    """Jobs that only pretend."""

    total = TOTAL
    patience_s = 20.0

    def __init__(self) -> None:
        self._fake = FakeBackend(total=TOTAL)
        self._instance = make_instance_id()
        self.backend: Backend = self._fake

    def spec(self, resources: Resources = SMALL) -> JobSpec:
        return make_spec(self._instance, resources=resources)

    def let_end(self, job_id: str, code: int) -> None:
        self._fake.finish(job_id, Exit(code=code))

    def set_reachable(self, reachable: bool) -> None:
        for call in ("observe", "submit", "cancel"):
            self._fake.faults.fail[call] = 0 if reachable else 1000

    async def close(self) -> None:
        return None


async def until_phase(rig: Rig, job_id: str, phase: Phase) -> Observed:
    """The job once the backend shows it in this phase."""
    deadline = time.monotonic() + rig.patience_s
    while (seen := find(await rig.backend.observe(), job_id)) is None or seen.phase is not phase:
        assert time.monotonic() < deadline, f"{job_id} is not {phase}: {seen}"
        await asyncio.sleep(0.02)
    return seen
