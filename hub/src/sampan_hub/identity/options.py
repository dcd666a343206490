"""What a person may ask for when starting a server: checked the same however it comes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan_hub.settings.fitting import backends_of, misfit
from sampan_hub.settings.model import Settings

PERSONAL = "personal"
"""The project that everybody has while the settings name none."""
FIELDS = ("size", "project", "environment", "backend")


class OptionRefused(ValueError):
    """One option cannot be had; the message names the field and what is allowed."""

    def __init__(self, field: str, text: str, allowed: Sequence[str]) -> None:
        super().__init__(text)
        self.field = field
        self.allowed = tuple(allowed)


def parse_form(form: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Options from form fields or query parameters: single texts; what was left empty is not asked for."""
    options: dict[str, Any] = {}
    for field, values in form.items():
        if field == "_xsrf":
            continue
        value = values[0] if len(values) == 1 else list(values)
        if value != "":
            options[field] = value
    return options


def check_options(settings: Settings, owner: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The same options, every one known and allowed for this person; raises OptionRefused for the first that is not."""
    for field in options:
        if field not in FIELDS:
            raise OptionRefused(field, f"{field}: no such option; allowed: {', '.join(FIELDS)}.", FIELDS)
    chosen = {field: value for field, value in options.items() if value is not None}
    allowed = allowed_options(settings, owner, chosen.get("project"), chosen.get("backend"))
    for field, names in allowed.items():
        value = chosen.get(field)
        if field in chosen and (not isinstance(value, str) or value not in names):
            why = _misfit(settings, field, value, chosen.get("backend") or next(iter(allowed["backend"]), ""))
            said = f"{field}: {_shown(value)} {why or 'is not allowed'}; allowed: {', '.join(names) or 'none'}."
            raise OptionRefused(field, said, names)
    return chosen


def allowed_options(settings: Settings, owner: str, project: Any = None, backend: Any = None) -> dict[str, list[str]]:
    """Field -> what this person may choose, each by the choices before it: without one, or a wrong one, the first."""
    projects = _projects(settings, owner)
    chosen = project if project in projects else next(iter(projects), "")
    backends = backends_of(settings, chosen)
    there = backend if backend in backends else next(iter(backends), "")
    only = settings.projects[chosen].sizes if chosen in settings.projects else ()
    return {
        "project": projects,
        "backend": backends,
        "size": [
            name for name in settings.sizes if (not only or name in only) and misfit(settings, name, there) is None
        ],
        "environment": list(settings.environments),
    }


def _projects(settings: Settings, owner: str) -> list[str]:
    if not settings.projects:
        return [PERSONAL]
    return [name for name, project in settings.projects.items() if not project.members or owner in project.members]


def _misfit(settings: Settings, field: str, value: Any, backend: str) -> str | None:
    """What is wrong with a size that is in itself one."""
    is_size = field == "size" and isinstance(value, str) and value in settings.sizes
    return misfit(settings, value, backend) if is_size else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
