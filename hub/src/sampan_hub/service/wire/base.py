"""What all messages of API v1 are made of: requests are strict, refusals are problem details."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{7,63}$")]

DEEPEST = 12
LONGEST_TEXT = 100_000
"""Characters of any one text in a request; keys and certificates are a few thousand."""


def _refuse_unstorable(value: Any, *place: str) -> None:
    """Text that no database and no environment can hold (NUL, half surrogate pairs), however deep it stands."""
    if len(place) > DEEPEST:
        raise ValueError(f"{'.'.join(place)}: nested too deep")
    match value:
        case str():
            if "\0" in value or (not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)):
                raise ValueError(f"{'.'.join(place)}: text may hold no NUL and no unpaired surrogate")
            if len(value) > LONGEST_TEXT:
                raise ValueError(f"{'.'.join(place)}: a text may have {LONGEST_TEXT} characters")
        case dict():
            for key, item in value.items():
                _refuse_unstorable(key, *place, "(name)")
                _refuse_unstorable(item, *place, key)
        case list():
            for index, item in enumerate(value):
                _refuse_unstorable(item, *place, str(index))


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        _refuse_unstorable(value, "body")
        return value


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(Answer):
    """RFC 9457 problem details; media type application/problem+json. One for every refusal and error.

    `code` is stable and for programs; `detail` is one or two sentences for people. For a limit: which one,
    what is used, what was asked, what the limit is and who can raise it.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    allowed: list[str] | None = None
    limit: str | None = None
    """e.g. `user.cores`; `used`, `asked` and `maximum` are in that limit's unit (thousandths, bytes, count)."""
    used: int | None = None
    asked: int | None = None
    maximum: int | None = None
    raised_by: str | None = None
    existing: str | None = None
    """The job that already has the name (`notebook-exists`)."""


class ReasonView(Answer):
    code: str
    text: str
