"""What a person may choose from, out of the settings. Pure."""

from __future__ import annotations

from sampan_hub.jobs.model import Resources
from sampan_hub.settings.model import Settings, Size

PERSONAL = "personal"
"""The project that everybody has while the settings name none."""


def project_names(settings: Settings, owner: str) -> list[str]:
    """The projects this person works for, the default first."""
    if not settings.projects:
        return [PERSONAL]
    return [name for name, project in settings.projects.items() if not project.members or owner in project.members]


def size_names(settings: Settings, project: str) -> list[str]:
    """The sizes this project may use, in the settings' order."""
    allowed = settings.projects[project].sizes if project in settings.projects else ()
    return [name for name in settings.sizes if not allowed or name in allowed]


def default_size(settings: Settings, project: str) -> str | None:
    """The size one gets without asking; None when the project may use none."""
    names = size_names(settings, project)
    if settings.default_size in names:
        return settings.default_size
    return names[0] if names else None


def default_environment(settings: Settings) -> str | None:
    """The environment one gets without asking."""
    return settings.default_environment or next(iter(settings.environments), None)


def default_backend(settings: Settings) -> str:
    """The backend one gets without asking: the first."""
    return next(iter(settings.backends))


def tenant_of(settings: Settings, project: str, owner: str) -> str:
    """Who pays. A personal project is paid by its person, which also keeps people's limits apart."""
    return settings.projects[project].tenant if project in settings.projects else owner


def resources_of(size: Size) -> Resources:
    """What one job of this size takes."""
    return Resources(size.cores_milli, size.memory, size.gpus)
