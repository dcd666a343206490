"""What every part of the settings is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sampan_hub.settings.units import MemoryBytes

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""How sizes, projects, environments and backends may be called."""


class Section(BaseModel):
    """A part that takes no keys but its own and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Scheduler(Section):
    """What the job of a cluster's scheduler gets."""

    cores: Annotated[float, Field(gt=0, le=1_000_000, strict=True)] = 0.5
    """Processor cores."""
    memory: Annotated[MemoryBytes, Field(gt=0)] = 1 << 30
    """The most memory it may use."""

    @property
    def cores_milli(self) -> int:
        """Thousandths of a core."""
        return round(self.cores * 1000)


class BackendSection(Section):
    """What every kind of backend takes."""

    workers_on: tuple[Name, ...] = ()
    """On which backends notebooks of this one may have workers, by name. Default: on this one alone."""
    cluster_host: Literal["job", "notebook"] = "notebook"
    """Where the schedulers of clusters whose workers run here are: each a job of its own here, or beside the notebook
    that asked."""
    scheduler: Scheduler = Scheduler()
    """What such a job gets."""
