"""The form to start a server: sizes as cards, and a project, a backend and an environment where there is a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sampan_hub.identity.options import allowed_options
from sampan_hub.look import words
from sampan_hub.settings.model import Settings

TEMPLATES = Path(__file__).parent / "templates"

Offers = Mapping[str, Any]
"""What the service says a person may have in one project on one backend."""


@cache
def environment() -> Environment:
    """Renders the parts of pages that JupyterHub takes as HTML."""
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)


def where_to_start(settings: Settings, owner: str) -> list[tuple[str, str]]:
    """Every project and backend among which this person may choose."""
    projects = allowed_options(settings, owner)["project"]
    return [(name, backend) for name in projects for backend in allowed_options(settings, owner, name)["backend"]]


def render_form(
    settings: Settings, owner: str, chosen: Mapping[str, Any], offers: Mapping[tuple[str, str], Offers]
) -> str:
    """The form's fields as HTML. `chosen`: what was chosen last. `offers`: by project and backend; empty without the
    service."""
    projects = allowed_options(settings, owner)["project"]
    project = _first((chosen.get("project"), *projects), projects)
    environments = list(settings.environments)
    return (
        environment()
        .get_template("options.html")
        .render(
            groups=[_group(settings, owner, name, chosen, offers) for name in projects],
            project=project,
            environments=environments,
            environment=_first((chosen.get("environment"), settings.default_environment, *environments), environments),
            paused=next((said["paused"] for said in offers.values() if said.get("paused")), None),
            is_service_away=not offers,
        )
    )


def _first(preferred: Sequence[Any], allowed: Sequence[str]) -> str | None:
    return next((name for name in preferred if name in allowed), None)


def _group(
    settings: Settings, owner: str, project: str, chosen: Mapping[str, Any], offers: Mapping[tuple[str, str], Offers]
) -> dict[str, Any]:
    """The backends of one project, and which of them is marked."""
    backends = allowed_options(settings, owner, project)["backend"]
    return {
        "project": project,
        "backend": _first((chosen.get("backend"), *backends), backends),
        "backends": [
            {"name": name}
            | _sizes(
                settings,
                allowed_options(settings, owner, project, name)["size"],
                chosen.get("size"),
                offers.get((project, name), {}),
            )
            for name in backends
        ],
    }


def _sizes(settings: Settings, sizes: Sequence[str], chosen: Any, offers: Offers) -> dict[str, Any]:
    """The sizes that a project has on one backend, and which of them is marked."""
    preferred = (chosen, offers.get("default_size"), settings.default_size, *sizes)
    said = {size["name"]: size for size in offers.get("sizes", [])}
    return {
        "size": _first(preferred, sizes),
        "cards": [_card(settings, name, said.get(name, {}), offers.get("waiting") or 0) for name in sizes],
    }


def _card(settings: Settings, name: str, said: Mapping[str, Any], waiting: int) -> dict[str, Any]:
    size = settings.sizes[name]
    price = size.price_per_hour
    cores, memory, *gpus = words.resources(size.cores_milli, size.memory, size.gpus)
    tone, free = _free(said, waiting, settings.limits.raised_by)
    return {
        "name": name,
        "facts": [cores, f"{memory} memory", *gpus],
        "price": None if price is None else f"{words.price(price, settings.currency)} per hour",
        "free": free,
        "tone": tone,
    }


def _free(said: Mapping[str, Any], waiting: int, raised_by: str) -> tuple[str, str | None]:
    """How soon one of this size would start. Nobody overtakes: while others wait, everybody waits."""
    free = said.get("free_now")
    if said.get("allowed_now") == 0:
        return "none", f"over your limit now; {raised_by} can raise it"
    if free is None:
        return "", None
    if waiting or not free:
        return "waits", f"queues, position {waiting + 1}"
    return "", f"starts at once, {free} free now"
