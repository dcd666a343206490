"""What a person may ask for when starting a server: checked the same however it comes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan_hub.settings.model import Settings

PERSONAL = "personal"
"""The project that everybody has while the settings name none."""
FIELDS = ("size", "project", "environment")


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
    allowed = allowed_options(settings, owner, chosen.get("project"))
    for field, value in chosen.items():
        if not isinstance(value, str) or value not in allowed[field]:
            names = ", ".join(allowed[field]) or "none"
            raise OptionRefused(field, f"{field}: {_shown(value)} is not allowed; allowed: {names}.", allowed[field])
    return chosen


def allowed_options(settings: Settings, owner: str, project: Any) -> dict[str, list[str]]:
    """Field -> what this person may choose; sizes are those of the project (None: of their first one)."""
    return {
        "project": _projects(settings, owner),
        "size": _sizes(settings, owner, project),
        "environment": list(settings.environments),
    }


def _projects(settings: Settings, owner: str) -> list[str]:
    if not settings.projects:
        return [PERSONAL]
    return [name for name, project in settings.projects.items() if not project.members or owner in project.members]


def _sizes(settings: Settings, owner: str, project: Any) -> list[str]:
    """The sizes of this project, or of the person's first one when none is asked for."""
    if project is None:
        project = next(iter(_projects(settings, owner)), None)
    named = settings.projects.get(project) if isinstance(project, str) else None
    only = named.sizes if named else ()
    return [name for name in settings.sizes if not only or name in only]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
