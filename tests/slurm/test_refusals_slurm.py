"""What Slurm refuses at once: told with what to do, and nothing of it left in anybody's home."""

from __future__ import annotations

from pathlib import Path

from tests.slurm.slurm_rig import SlurmRig
from tests.slurm.test_run_as import PROGRAM, Caller, caller
from tests.testbeds.slurm.cluster import Cluster

__all__ = ["caller"]


async def test_what_slurm_refuses_is_told_with_what_to_do(slurm: Cluster, caller: Caller, tmp_path: Path) -> None:
    settings = {
        "sizes": {"small": {"constraint": "nowhere"}},
        "projects": {"other": {"account": "nobody"}, "slow": {"qos": "nothing"}},
    }
    rig = SlurmRig(slurm, PROGRAM, tmp_path, **settings)
    specs = {project: rig.spec(project=project) for project in ("personal", "other", "slow")}
    refused = (await rig.backend.submit(list(specs.values()))).refused
    codes = {project: refused[spec.job_id].code for project, spec in specs.items()}
    assert codes == {"personal": "slurm-constraint", "other": "slurm-account", "slow": "slurm-qos"}
    assert list((slurm.home("alice") / ".sampan/jobs").iterdir()) == []
    await rig.close()
