"""What a person may choose from, out of the settings. Pure."""

from __future__ import annotations

from sampan_hub.jobs.model import Resources
from sampan_hub.settings.fitting import backends_fed_from, backends_of, misfit
from sampan_hub.settings.model import Settings, Size

PERSONAL = "personal"
"""The project that everybody has while the settings name none."""


def project_names(settings: Settings, owner: str) -> list[str]:
    """The projects this person works for, the default first."""
    if not settings.projects:
        return [PERSONAL]
    return [name for name, project in settings.projects.items() if not project.members or owner in project.members]


def size_names(settings: Settings, project: str, backend: str | None) -> list[str]:
    """The sizes this project may use and this backend (None: any) can ever hold, in the settings' order."""
    allowed = settings.projects[project].sizes if project in settings.projects else ()
    names = [name for name in settings.sizes if not allowed or name in allowed]
    return [name for name in names if backend is None or misfit(settings, name, backend) is None]


def default_size(settings: Settings, project: str, backend: str | None) -> str | None:
    """The size one gets without asking; None when there is none for this project there."""
    names = size_names(settings, project, backend)
    if settings.default_size in names:
        return settings.default_size
    return names[0] if names else None


def default_environment(settings: Settings) -> str | None:
    """The environment one gets without asking."""
    return settings.default_environment or next(iter(settings.environments), None)


def backend_names(settings: Settings, project: str, fed_by: str | None) -> list[str]:
    """The backends this project may use, the default first; `fed_by`: for workers of a notebook on that one."""
    names = backends_of(settings, project)
    return names if fed_by is None else [name for name in backends_fed_from(settings, fed_by) if name in names]


def tenant_of(settings: Settings, project: str, owner: str) -> str:
    """Who pays. A personal project is paid by its person, which also keeps people's limits apart."""
    return settings.projects[project].tenant if project in settings.projects else owner


def resources_of(size: Size) -> Resources:
    """What one job of this size takes."""
    return Resources(size.cores_milli, size.memory, size.gpus)
