"""`values.yaml`, with what each value means above it. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from tools.chart.values import CONFIG, CONFIG_COMMENT, Values

HEAD = """# Values of the chart. Made by `make chart` from tools/chart.
# What is said about a part (an image, resources) where it appears first holds everywhere."""
_WIDTH = 116


def render_values() -> str:
    """The whole file."""
    lines = [HEAD, ""]
    lines += [*_comment(CONFIG_COMMENT, 0), *_entry("config", CONFIG, 0), ""]
    seen: set[type[BaseModel]] = set()
    for name, value, comment in _fields(Values()):
        lines += [*_comment(comment, 0), *_section(name, value, 0, seen), ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, value: Any, depth: int, seen: set[type[BaseModel]]) -> Iterator[str]:
    """A key and what is under it; the fields of one model are explained where they appear first."""
    if not isinstance(value, BaseModel):
        yield from _entry(name, value, depth)
        return
    yield f"{_indent(depth)}{name}:"
    explained = type(value) in seen
    seen.add(type(value))
    for inner, item, comment in _fields(value):
        if not explained:
            yield from _comment(comment, depth + 1)
        yield from _section(inner, item, depth + 1, seen)


def _fields(model: BaseModel) -> Iterator[tuple[str, Any, str]]:
    for name, field in type(model).model_fields.items():
        yield field.alias or name, getattr(model, name), field.description or ""


def _entry(name: str, value: Any, depth: int) -> Iterator[str]:
    """Plain data: mappings with something in them as blocks, all else on one line."""
    if isinstance(value, dict) and value and depth < 2:
        yield f"{_indent(depth)}{name}:"
        for inner, item in value.items():
            yield from _entry(inner, item, depth + 1)
        return
    yield f"{_indent(depth)}{name}: {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str, depth: int) -> list[str]:
    start = f"{_indent(depth)}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _indent(depth: int) -> str:
    return "  " * depth
