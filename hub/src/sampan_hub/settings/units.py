"""The spellings people use in `sampan.yaml` (`2G`, `20m`, `1.25`) and the exact integers they mean.

Each type reads a person's spelling and, dumped with `mode="json"`, writes one that reads back to the same value.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MASK = "**********"

_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(iB|i|B)?\s*", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(
    r"\s*(?:(\d+)\s*d)?\s*(?:(\d+)\s*h)?\s*(?:(\d+)\s*m)?\s*(?:(\d+)\s*s?)?\s*", re.IGNORECASE | re.ASCII
)
_MOST_MEMORY_BYTES = 1 << 60
_MOST_DURATION_S = 100 * 366 * 86400
_MICROS = 1_000_000


def _refuse(expected: str, got: object) -> NoReturn:
    raise PydanticCustomError("spelling", "expected {expected}, got {got}", {"expected": expected, "got": repr(got)})


def parse_memory_bytes(value: object) -> int:
    """`2G`, `2 GiB`, `512M` (powers of 1024), `2GB` (powers of 1000), or a whole number of bytes."""
    expected = "an amount of memory such as 2G or 512M"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_MEMORY_BYTES:
        return value
    match = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        _refuse(expected, value)
    number, letter, ending = match.groups(default="")
    base = 1000 if letter and ending.lower() == "b" else 1024
    amount = Decimal(number) * base ** " KMGT".index(letter.upper() or " ")
    if amount != int(amount) or amount > _MOST_MEMORY_BYTES:
        _refuse(expected + ", a whole number of bytes", value)
    return int(amount)


def render_memory(amount_bytes: int) -> str:
    """The shortest exact spelling: 2G, 1536M, or the bytes themselves."""
    for letter, power in (("T", 4), ("G", 3), ("M", 2), ("K", 1)):
        if amount_bytes and amount_bytes % 1024**power == 0:
            return f"{amount_bytes // 1024**power}{letter}"
    return str(amount_bytes)


def parse_duration_s(value: object) -> int:
    """`90s`, `20m`, `1h30m`, `7d`, or a whole number of seconds."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_DURATION_S:
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        _refuse("a duration such as 90s, 20m or 1h30m", value)
    days, hours, minutes, seconds = (int(part) for part in match.groups(default="0"))
    duration_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if duration_s > _MOST_DURATION_S:
        _refuse("a duration of at most a hundred years", value)
    return duration_s


def render_duration(duration_s: int) -> str:
    """The spelling without zero parts: 1h30m, 7d, 0s."""
    rest, parts = duration_s, []
    for letter, unit_s in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, unit_s)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


def parse_price_micros(value: object) -> int:
    """`1.25` (a number or text, in the site's currency) as 1_250_000; exact, because it goes through its text."""
    expected = "a price such as 1.25, with at most 6 decimals"
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        _refuse(expected, value)
    try:
        micros = Decimal(getattr(value, "text", str(value)).strip().replace("_", "")) * _MICROS
    except InvalidOperation:
        _refuse(expected, value)
    if not micros.is_finite() or micros < 0 or micros >= 10**15 or micros != int(micros):
        _refuse(expected, value)
    return int(micros)


def render_price(micros: int) -> str:
    """Micro-units as a decimal number of the currency: 1250000 is `1.25`."""
    return f"{(Decimal(micros) / _MICROS).normalize():f}"


class ExactFloat(float):
    """A float that remembers how it was written, so that a price never passes through binary fractions."""

    text: str

    def __new__(cls, text: str) -> ExactFloat:
        number = super().__new__(cls, text)
        number.text = text
        return number


REFERENCES: tuple[dict[str, Any], ...] = tuple(
    {
        "type": "object",
        "properties": {source: {"type": "string"}},
        "required": [source],
        "additionalProperties": False,
    }
    for source in ("file", "env")
)
"""`{file: PATH}` and `{env: NAME}` in the JSON schema."""


class SecretText(str):
    """Text that hides itself wherever it is shown or dumped as JSON; as a `str` it is what it is.

    In `sampan.yaml` it may be written `{file: PATH}` or `{env: NAME}`; `settings.load` puts the content in its place.
    """

    __slots__ = ()
    JSON_SCHEMA: ClassVar[dict[str, Any]] = {"format": "secret", "anyOf": [{"type": "string"}, *REFERENCES]}

    def __repr__(self) -> str:
        return f"SecretText('{MASK}')"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(min_length=1),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: MASK, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(cls.JSON_SCHEMA)


def masked(value: Any) -> Any:
    """A copy of plain data in which every secret is replaced by its mask."""
    if isinstance(value, SecretText):
        return MASK
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    return [masked(item) for item in value] if isinstance(value, list | tuple) else value


def _spelled(kind: str, number: str, pattern: str) -> WithJsonSchema:
    """A number or its spelling; `format` names the kind for the reference page and for editors."""
    spellings = [{"type": number, "minimum": 0}, {"type": "string", "pattern": pattern}]
    return WithJsonSchema({"format": kind, "anyOf": spellings})


MemoryBytes = Annotated[
    int,
    BeforeValidator(parse_memory_bytes),
    PlainSerializer(render_memory, when_used="json"),
    _spelled("memory", "integer", r"^\s*\d+(\.\d+)?\s*[KMGTkmgt]?(i|iB|B)?\s*$"),
]
DurationSeconds = Annotated[
    int,
    BeforeValidator(parse_duration_s),
    PlainSerializer(render_duration, when_used="json"),
    _spelled("duration", "integer", r"^\s*(\d+\s*d)?\s*(\d+\s*h)?\s*(\d+\s*m)?\s*(\d+\s*s?)?\s*$"),
]
PriceMicros = Annotated[
    int,
    BeforeValidator(parse_price_micros),
    PlainSerializer(render_price, when_used="json"),
    _spelled("price", "number", r"^\d+(\.\d{1,6})?$"),
]
