"""On which backends a project, a notebook's workers and a size may run. Pure; asks for completed settings."""

from __future__ import annotations

from sampan_hub.settings.model import LocalBackend, Settings


def backends_of(settings: Settings, project: str) -> list[str]:
    """The backends this project may use, in the settings' order: the first is the one without asking."""
    only = settings.projects[project].backends if project in settings.projects else ()
    return [name for name in settings.backends if not only or name in only]


def backends_fed_from(settings: Settings, backend: str) -> list[str]:
    """Where a notebook that runs on this backend may have workers, the default first."""
    own = settings.backends.get(backend)
    if own is None:
        return []
    named = own.workers_on or (backend,)
    return sorted(named, key=lambda name: name != backend)


def misfit(settings: Settings, size: str, backend: str) -> str | None:
    """Why no job of this size can ever run on this backend; None where it can, or the backend has a queue that knows.

    The text goes on after the size's name.
    """
    there, each = settings.backends.get(backend), settings.sizes[size]
    if not isinstance(there, LocalBackend):
        return None
    if each.gpus:
        return f"needs GPUs, and {backend} has none"
    cores = (there.cores or float("inf")) * (there.overcommit or 1)
    is_too_large = each.cores > cores or each.memory > (there.memory or float("inf"))
    return f"needs more than {backend} gives out" if is_too_large else None
