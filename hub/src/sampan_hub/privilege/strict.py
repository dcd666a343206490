"""JSON read strictly: one object, no key twice, no floats, each field of exactly its type and form. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from sampan_hub.privilege.errors import RunAsError

T = TypeVar("T")


def _refuse(text: str) -> NoReturn:
    raise RunAsError("request", text)


def _no_float(_: str) -> NoReturn:
    _refuse("A number in the request is not a whole number.")


def _one_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("The request names a field twice.")
    return found


def parse_object(data: bytes) -> dict[str, Any]:
    """The one JSON object that `data` is; RunAsError for anything else."""
    try:
        value = json.loads(
            data.decode("utf-8", "strict"), object_pairs_hook=_one_each, parse_float=_no_float, parse_constant=_no_float
        )
    except (ValueError, RecursionError):
        raise RunAsError("request", "The request is not JSON.") from None
    if type(value) is not dict:
        _refuse("The request is not a JSON object.")
    return value


class Fields:
    """The fields of one object, taken by type. Having missed or unknown ones is refused at once."""

    def __init__(self, value: object, names: tuple[str, ...], where: str = "") -> None:
        if type(value) is not dict:
            _refuse(f"{where.rstrip('.') or 'The request'} is not an object.")
        missing = [name for name in names if name not in value]
        if missing:
            _refuse(f"The field {where}{missing[0]} is missing.")
        if len(value) != len(names):
            _refuse(f"{where.rstrip('.') or 'The request'} has a field that is not known here.")
        self._values: dict[str, Any] = value
        self._where = where

    def _wrong(self, name: str) -> NoReturn:
        _refuse(f"The field {self._where}{name} does not have the form it must have.")

    def object(self, name: str) -> object:
        """The field as it came, for a reader of its own."""
        return self._values[name]

    def text(self, name: str, form: re.Pattern[str]) -> str:
        """A string that matches `form` from end to end."""
        value = self._values[name]
        if type(value) is not str or form.fullmatch(value) is None:
            self._wrong(name)
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        """An integer in the range; `true` is none."""
        value = self._values[name]
        if type(value) is not int or not low <= value <= high:
            self._wrong(name)
        return value

    def texts(self, name: str, form: re.Pattern[str], most: int) -> tuple[str, ...]:
        """A list of at most `most` strings of that form."""
        value = self._values[name]
        if type(value) is not list or len(value) > most:
            self._wrong(name)
        if any(type(text) is not str or form.fullmatch(text) is None for text in value):
            self._wrong(name)
        return tuple(value)

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """None for null, else what `read` makes of the field."""
        return None if self._values[name] is None else read(name)
