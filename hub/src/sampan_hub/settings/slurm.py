"""The keys of a Slurm backend (`kind: slurm`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sampan_hub.settings.section import BackendSection, Name, Section
from sampan_hub.settings.units import DurationSeconds

SlurmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}$")]
"""How partitions, accounts, QOS and reservations may be called."""
Partitions = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@-]*(,[A-Za-z0-9][A-Za-z0-9._+@-]*)*$", max_length=255)
]
Constraint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+*&|,:()\[\]-]{1,255}$")]
Gres = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+,:-]{1,255}$")]
Directive = Annotated[
    str, StringConstraints(pattern=r"^--[a-z][a-z-]{1,40}(=[A-Za-z0-9_.,:;+@%*&|/()\[\]=-]{1,255})?$")
]
WALLTIME_NOTICE_S = 120
Port = Annotated[int, Field(ge=1024, le=65535, strict=True)]


class SlurmPlacement(Section):
    """Where in the cluster jobs go. What is left out stays as one step above: project, size, backend."""

    partition: Partitions | None = None
    """A partition, or several separated by commas."""
    qos: SlurmName | None = None
    """The quality of service asked for."""
    account: SlurmName | None = None
    """The Slurm account that is charged. Left out: each person's default one."""
    reservation: SlurmName | None = None
    """The reservation in which jobs run."""
    constraint: Constraint | None = None
    """Features that nodes must have, as `sbatch --constraint` takes them."""
    gres: Gres | None = None
    """Generic resources, such as `gpu:a100:1`. Left out: `gpu:N` for a size with `gpus: N`."""
    walltime: DurationSeconds | None = None
    """How long a job may run, rounded up to minutes."""
    directives: tuple[Directive, ...] = ()
    """More options of `sbatch` that place a job, such as `--exclude=node7`. Those of all steps are given."""


class SlurmPorts(Section):
    """The ports that jobs listen on, which nodes, hub and service must be able to reach."""

    first: Port = 30000
    """The lowest."""
    last: Port = 32767
    """The highest."""


class SlurmBackend(SlurmPlacement, BackendSection):
    """Jobs are Slurm jobs of the person who asked."""

    kind: Literal["slurm"]
    """Which sort of backend this is."""
    submit_as: Literal["themselves", "one"] = "themselves"
    """`themselves`: each person's jobs run as that person, through `sampan-run-as` and sudo. `one`: all run as the
    system user that runs Sampan, without sudo: for one person on a login node."""
    commands: Path = Path("/usr/bin")
    """The folder of squeue, sinfo, sacct and scontrol."""
    run_as: Path | None = None
    """The program `sampan-run-as`. Default: beside the `sampan` command."""
    sudo: Path = Path("/usr/bin/sudo")
    """The program that lets `sampan-run-as` run as root."""
    accounting: bool | None = Field(default=None, strict=True)
    """Whether ended jobs can be looked up by `sacct`. Default: what `scontrol show config` says."""
    reach: str | None = None
    """The URL under which compute nodes reach Sampan, `https://…/`. Default: `url`."""
    network: str | None = None
    """The network over which jobs talk, such as `10.88.0.0/24`: a job listens on its node's address there.
    Default: the address by which the node reaches Sampan."""
    ports: SlurmPorts = SlurmPorts()
    """The ports that jobs listen on."""
    walltime: DurationSeconds = 8 * 3600
    """How long a job may run where nothing else is said, rounded up to minutes."""
    walltime_notice: DurationSeconds = WALLTIME_NOTICE_S
    """How long before its walltime ends a notebook its person is told in JupyterLab."""
    sizes: dict[Name, SlurmPlacement] = Field(default_factory=dict)
    """By size: what differs for jobs of that size."""
    projects: dict[Name, SlurmPlacement] = Field(default_factory=dict)
    """By project: what differs for jobs of that project."""
