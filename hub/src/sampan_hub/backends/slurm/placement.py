"""Where in the cluster a job goes and what it asks for, out of the settings. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from sampan_hub.jobs.model import Resources
from sampan_hub.settings.slurm import SlurmBackend, SlurmPlacement

_MIB = 1 << 20
_NOTHING = SlurmPlacement()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Placement:
    """What sbatch is asked for on behalf of one size and project. None: not mentioned."""

    partition: str | None
    account: str | None
    qos: str | None
    reservation: str | None
    constraint: str | None
    gres: str | None
    cpus: int
    memory_mb: int
    gpus: int
    minutes: int
    directives: tuple[str, ...]


def make_placement(backend: SlurmBackend, size: str, project: str, resources: Resources) -> Placement:
    """What the project says comes first, then the size, then the backend; directives of all three are given."""
    steps = (backend.projects.get(project, _NOTHING), backend.sizes.get(size, _NOTHING), backend)
    walltime_s = _first([step.walltime for step in steps]) or backend.walltime
    return Placement(
        partition=_first([step.partition for step in steps]),
        account=_first([step.account for step in steps]),
        qos=_first([step.qos for step in steps]),
        reservation=_first([step.reservation for step in steps]),
        constraint=_first([step.constraint for step in steps]),
        gres=_first([step.gres for step in steps]),
        cpus=max(1, math.ceil(resources.cores_milli / 1000)),
        memory_mb=max(1, math.ceil(resources.memory_bytes / _MIB)),
        gpus=resources.gpus,
        minutes=max(1, math.ceil(walltime_s / 60)),
        directives=tuple(dict.fromkeys(text for step in reversed(steps) for text in step.directives)),
    )


def partitions(backend: SlurmBackend) -> tuple[str, ...]:
    """Every partition that jobs of this backend can go to; empty where the cluster's default is among them."""
    steps = (backend, *backend.sizes.values(), *backend.projects.values())
    if backend.partition is None:
        return ()
    return tuple(dict.fromkeys(name for step in steps for name in (step.partition or "").split(",") if name))


def _first(values: list[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
