"""What every part of the settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""How sizes, projects, environments and backends may be called."""


class Section(BaseModel):
    """A part that takes no keys but its own and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class BackendSection(Section):
    """What every kind of backend takes."""

    workers_on: tuple[Name, ...] = ()
    """On which backends notebooks of this one may have workers, by name. Default: on this one alone."""
