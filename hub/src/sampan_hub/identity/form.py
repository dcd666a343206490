"""The form to start a server: sizes as cards, and a project and an environment where there is a choice."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sampan_hub.identity.options import allowed_options
from sampan_hub.settings.model import Settings
from sampan_hub.settings.units import render_price

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)


def render_form(settings: Settings, owner: str, chosen: Mapping[str, Any], offers: Mapping[str, Any] | None) -> str:
    """The form's fields as HTML. `offers`: the service's answer; None when it does not answer."""
    allowed = allowed_options(settings, owner, None)
    cards = [_card(settings, name, _offered(offers, name)) for name in allowed["size"]]
    preferred = [chosen.get("size"), (offers or {}).get("default_size"), settings.default_size, *allowed["size"]]
    return (
        _environment()
        .get_template("options.html")
        .render(
            cards=cards,
            size=next((name for name in preferred if name in allowed["size"]), None),
            projects=allowed["project"],
            project=chosen.get("project"),
            environments=allowed["environment"],
            environment=chosen.get("environment") or settings.default_environment,
            paused=(offers or {}).get("paused"),
            is_service_away=offers is None,
        )
    )


def _offered(offers: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    sizes = (offers or {}).get("sizes", [])
    return next((size for size in sizes if size["name"] == name), {})


def _card(settings: Settings, name: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    size = settings.sizes[name]
    price = size.price_per_hour
    free = offered.get("free_now")
    return {
        "name": name,
        "facts": _facts(size.cores, size.memory, size.gpus),
        "price": None if price is None else f"{render_price(price)} {settings.currency or ''} per hour".strip(),
        "free": None if free is None else ("starts at once" if free else "has to wait now"),
        "is_over": offered.get("allowed_now") == 0,
        "raised_by": settings.limits.raised_by,
    }


def _facts(cores: float, memory_bytes: int, gpus: int) -> str:
    facts = [f"{cores:g} {'core' if cores == 1 else 'cores'}", f"{memory_bytes / 2**30:.3g} GiB memory"]
    if gpus:
        facts.append(f"{gpus} {'GPU' if gpus == 1 else 'GPUs'}")
    return ", ".join(facts)
