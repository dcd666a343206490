"""The JSON schema and the reference page of `sampan.yaml`, both made from the models and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan_hub.settings.model import Settings
from sampan_hub.settings.units import render_duration, render_memory

HEAD = """# Settings: every key of `sampan.yaml`

<!-- Made by `sampan config reference > docs/settings.md`. Change the texts in settings/model.py, not here. -->

The file is optional on a laptop. Sampan reads `--config FILE`, else the file named by `SAMPAN_CONFIG`, else
`./sampan.yaml`. Relative paths in it start from its own folder. Keys that are not on this page are refused.

`sampan config check` says everything that is wrong with a file, `sampan config show` what is in effect,
`sampan config set KEY VALUE` changes one key, `sampan config schema` prints a JSON schema for editors.

| written as | means |
|---|---|
| memory | `512M`, `2G`, `1.5 GiB` (powers of 1024), `2GB` (powers of 1000), or bytes |
| duration | `90s`, `20m`, `1h30m`, `7d`, or seconds |
| price | a decimal number with at most 6 decimals, kept exactly |
| secret | text, `{file: PATH}` (the content of a file) or `{env: NAME}` (an environment variable) |
| image | `registry/repository:tag`, or `{file: PATH}` or `{env: NAME}` as for secrets |
| name | a–z, 0–9, `.`, `_`, `-`; at most 63; a letter or digit first |
"""

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "keys and values",
}


def make_schema() -> dict[str, Any]:
    """JSON schema of the settings file."""
    schema = Settings.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "sampan.yaml"}


def render_reference() -> str:
    """The page docs/settings.md."""
    schema = make_schema()
    lines = [HEAD, *_render_section("The whole file", schema)]
    for name, places in _places(schema).items():
        section = schema["$defs"][name]
        kind = section["properties"].get("kind", {}).get("const")
        heading = ", ".join(f"`{place}`" for place in dict.fromkeys(places)) + (f" (`kind: {kind}`)" if kind else "")
        lines += _render_section(heading, section)
    return "\n".join(lines).rstrip() + "\n"


def _render_section(heading: str, section: dict[str, Any]) -> Iterator[str]:
    yield f"## {heading}\n"
    yield section["description"] + "\n"
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    required = section.get("required", ())
    for name, field in section["properties"].items():
        default = "**required**" if name in required else _default(field)
        text = " ".join(field.get("description", "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_spelling(field)} | {default} | {text} |"
    yield ""


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if not isinstance(value, str | int | float) or value == "":
        return ""
    if field.get("format") == "duration":
        return f"`{render_duration(int(value))}`"
    if field.get("format") == "memory":
        return f"`{render_memory(int(value))}`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _places(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Every section's definition, in order of appearance, with all paths where it may stand."""
    places: dict[str, list[str]] = {}
    waiting = [("", schema)]
    while waiting:
        path, section = waiting.pop(0)
        inner = [
            found
            for name, field in section["properties"].items()
            for found in _targets(field, f"{path}.{name}" if path else name)
        ]
        for place, name in inner:
            places.setdefault(name, []).append(place)
        waiting = [(place, schema["$defs"][name]) for place, name in inner] + waiting
    return places


def _targets(field: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Which definitions may stand at `path` or, in a table of names, under it."""
    if "$ref" in field:
        yield path, field["$ref"].rpartition("/")[2]
    for choice in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        yield from _targets(choice, path)
    for inner in (*field.get("patternProperties", {}).values(), field.get("additionalProperties"), field.get("items")):
        if isinstance(inner, dict):
            yield from _targets(inner, f"{path}.NAME" if inner is not field.get("items") else f"{path}[]")


def _spelling(field: dict[str, Any]) -> str:
    """What may be written there, in the words of the table at the top of the page."""
    if "format" in field:
        return "path" if field["format"] == "path" else str(field["format"])
    if "$ref" in field:
        return "keys and values"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{word}`" for word in field["enum"])
    choices = [*field.get("anyOf", ()), *field.get("oneOf", ())]
    if choices:
        words = [_spelling(choice) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if field.get("type") == "array":
        return f"list of {_spelling(field['items'])}"
    if field.get("type") == "object" and any(_targets(field, "")):
        return "names, each with keys and values"
    if str(field.get("pattern", "")).startswith("^[a-z0-9]["):
        return "name"
    return _WORDS.get(str(field.get("type")), "anything")
