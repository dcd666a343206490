"""`values.schema.json`: the chart's values and, under `config`, the settings, from the models of both. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan_hub.settings.reference import make_schema
from tools.chart.values import CONFIG_COMMENT, REQUIRED, THE_CHARTS_OWN, Values

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The latest that every Helm 3 understands."""
_EDITORS_ONLY = frozenset({"title", "default", "discriminator", "format", "$schema"})


def make_values_schema() -> dict[str, Any]:
    """The JSON schema by which Helm judges values before it renders anything."""
    own = Values.model_json_schema(by_alias=True)
    settings = make_schema()
    for key in THE_CHARTS_OWN:
        del settings["properties"][key]
    definitions = {
        **_renamed(own.pop("$defs"), ""),
        **_renamed(settings.pop("$defs"), "config."),
        "config": _rewritten(settings, "config."),
    }
    schema = _rewritten(own, "")
    schema["properties"]["config"] = {"$ref": "#/definitions/config", "description": CONFIG_COMMENT}
    schema["allOf"] = [_requirement(path, sentence) for path, sentence in REQUIRED.items()]
    return {"$schema": DRAFT, "title": own["title"], **schema, "definitions": definitions}


def _renamed(definitions: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": _rewritten(schema, prefix) for name, schema in definitions.items()}


def _rewritten(schema: Any, prefix: str, *, is_names: bool = False) -> Any:
    """The same in the draft that Helm reads. Under `properties` stand names of values, not words of the schema."""
    if isinstance(schema, list):
        return [_rewritten(each, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and not is_names:
        return {"$ref": f"#/definitions/{prefix}{schema['$ref'].rpartition('/')[2]}"}
    return {
        key: _rewritten(value, prefix, is_names=not is_names and key in ("properties", "patternProperties"))
        for key, value in schema.items()
        if is_names or key not in _EDITORS_ONLY
    }


def _requirement(path: tuple[str, ...], sentence: str) -> dict[str, Any]:
    """The text at `path` is not empty. The second choice lets through nothing more: it is there to be read in Helm's
    message, which repeats it."""
    required: dict[str, Any] = {"anyOf": [{"type": "string", "minLength": 1}, {"const": sentence}]}
    for name in reversed(path):
        required = {"required": [name], "properties": {name: required}}
    return required
