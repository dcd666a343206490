"""What is wrong with the settings: findings with file, line, column and key, and the one error that carries them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

KeyPath = tuple[str | int, ...]
"""Where something is in the tree of settings: `("limits", "user", "cores")`, list places as numbers."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, counted from 1 as editors do."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """The file that settings were read from, and where in it each key and value stands."""

    file: str
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    values: dict[KeyPath, Position] = field(default_factory=dict)

    def at(self, path: KeyPath, *, key: bool = False) -> Position | None:
        """The position of the value (or key) at `path`, else of the nearest section around it that has a name."""
        first, second = (self.keys, self.values) if key else (self.values, self.keys)
        for length in range(len(path), min(len(path), 1) - 1, -1):
            found = first.get(path[:length]) or second.get(path[:length])
            if found is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to put right: which key, where it stands, what is wrong and (where not said in it) the remedy."""

    key: str
    text: str
    file: str | None = None
    position: Position | None = None
    remedy: str = ""

    def __str__(self) -> str:
        place = ""
        if self.file is not None:
            place = self.file
            if self.position is not None:
                place += f":{self.position.line}:{self.position.column}"
        head = " ".join(part for part in (place, self.key) if part)
        remedy = f". Remedy: {self.remedy}" if self.remedy else ""
        return (f"{head} – " if head else "") + self.text + remedy


class SettingsError(Exception):
    """The settings cannot be used; `findings` says everything that is wrong with them, in file order."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


def dotted(path: KeyPath) -> str:
    """`limits.user.cores`, `admins[1]`; a part that would be read wrongly is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if part and not set(part) & set('.[]" \t\n') else repr(part)
            text += f".{shown}" if text else shown
    return text


def made(
    source: Source | None, path: KeyPath, text: str, *, remedy: str = "", key: bool = False, at: KeyPath | None = None
) -> Finding:
    """A finding about `path`, with its place when there is a file: that of `at` for a key that is missing."""
    if source is None:
        return Finding(dotted(path), text, remedy=remedy)
    return Finding(dotted(path), text, source.file, source.at(path if at is None else at, key=key), remedy)
