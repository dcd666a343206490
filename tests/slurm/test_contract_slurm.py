"""The promises of `backends.base`, kept by the Slurm backend over real daemons, with the suite of all backends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.test_backend_contract import *  # noqa: F403  (every test of the suite, as it is)
from tests.slurm.slurm_rig import SlurmRig
from tests.slurm.test_run_as import PROGRAM, Caller, caller
from tests.testbeds.slurm.cluster import Cluster

__all__ = ["caller"]


@pytest.fixture
async def rig(slurm: Cluster, caller: Caller, tmp_path: Path) -> AsyncIterator[SlurmRig]:
    made = SlurmRig(slurm, PROGRAM, tmp_path)
    yield made
    await made.close()
