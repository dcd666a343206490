"""Turns pydantic's errors into findings a person can act on: the place, what was expected, what was got."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sampan_hub.settings.findings import Finding, KeyPath, Source, made
from sampan_hub.settings.model import Settings
from sampan_hub.settings.references import is_secret_place

_EXPECTED: Mapping[str, str] = {
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "model_type": "keys and values",
    "dict_type": "keys and values",
    "tuple_type": "a list",
    "string_too_short": "some text",
}


def explain(error: ValidationError, source: Source) -> list[Finding]:
    """One finding for each thing wrong, in the order pydantic met them."""
    return [_finding(details, source) for details in error.errors(include_url=False)]


def _finding(details: ErrorDetails, source: Source) -> Finding:
    kind, path = details["type"], without_tags(details["loc"])
    if details["loc"][-1:] == ("[key]",):
        return made(
            source, path, "expected a name of a-z, 0-9, '.', '_', '-' (at most 63, a letter or digit first)", key=True
        )
    if kind == "extra_forbidden":
        return made(source, path, _unknown_key(path), key=True)
    if kind == "missing":
        return made(source, path, "missing")
    return made(source, path, _expectation(details, path))


def without_tags(loc: tuple[int | str, ...]) -> KeyPath:
    """pydantic's location without the marks it adds for unions and keys: the path in the file."""
    path = list(loc[:-1] if loc[-1:] == ("[key]",) else loc)
    for depth, root in ((2, "backends"), (1, "login"), (1, "tls")):
        if path[:1] == [root] and len(path) > depth:
            del path[depth]
    return tuple(path)


def _expectation(details: ErrorDetails, path: KeyPath) -> str:
    kind, context = details["type"], details.get("ctx", {})
    got = "" if is_secret_place(path) else f", got {_shown(details['input'])}"
    if kind == "spelling":
        return details["msg"] if got else f"expected {context['expected']}"
    if kind in ("literal_error", "union_tag_invalid"):
        allowed = _quoted_words(context.get("expected") or context.get("expected_tags", ""))
        value = context.get("tag", details["input"])
        return f"expected {_one_of(allowed)}, got {_shown(value)}{_did_you_mean(value, allowed)}"
    if kind == "string_pattern_mismatch":
        return f"expected {_PATTERNS.get(str(path[-1]), 'a name of a-z, 0-9, . _ -')}{got}"
    if kind in _COMPARISONS:
        word, bound = _COMPARISONS[kind]
        return f"expected {word} {context[bound]:g}{got}"
    if kind in _EXPECTED:
        hint = _string_hint(details["input"]) if kind == "string_type" and got else ""
        return f"expected {_EXPECTED[kind]}{got}{hint}"
    return details["msg"][:1].lower() + details["msg"][1:] + got


_PATTERNS = {"currency": "three capital letters such as EUR"}
_COMPARISONS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
}


def _string_hint(value: object) -> str:
    return f" (write '{value}' in quotes)" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        kind = "keys and values" if isinstance(value, dict) else "a list"
        return kind if value else f"nothing ({'{}' if isinstance(value, dict) else '[]'})"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:59] + "…'"


def _quoted_words(text: str) -> list[str]:
    return [word.strip().strip("'") for word in text.replace(" or ", ", ").split(",")]


def _one_of(words: list[str]) -> str:
    return " or ".join(repr(word) for word in words)


def _did_you_mean(value: object, allowed: list[str]) -> str:
    close = difflib.get_close_matches(str(value).lower(), allowed, n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def _unknown_key(path: KeyPath) -> str:
    allowed = known_keys(path[:-1])
    guess = _did_you_mean(path[-1], allowed)
    return f"unknown key{guess}" if guess else f"unknown key; known here: {', '.join(allowed)}"


def known_keys(path: KeyPath) -> list[str]:
    """The keys that may stand in the section at `path`; of a choice of sections, all their keys."""
    types: list[Any] = [Settings]
    for part in path:
        types = [inner for outer in types for inner in _inside(outer, part)]
    return sorted({name for model in types for name in _fields(model)})


def _fields(model: Any) -> dict[str, Any]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _inside(outer: Any, part: int | str) -> list[Any]:
    """The types that may stand under `part` of a value of type `outer`, unions taken apart."""
    if get_origin(outer) is dict:
        return _members(get_args(outer)[1])
    return _members(_fields(outer)[str(part)]) if str(part) in _fields(outer) else []


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for member in get_args(annotation) for inner in _members(member)]
    return [annotation]
