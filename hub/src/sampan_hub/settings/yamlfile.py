"""Text of a settings file to plain data, with the place of every key and value. Knows YAML, not settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from sampan_hub.settings.findings import Finding, KeyPath, Position, Source, dotted, made
from sampan_hub.settings.units import ExactFloat

_TAG = "tag:yaml.org,2002:"
_MAX_VALUES = 200_000
"""More than any site writes by hand; stops aliases of aliases from growing without end."""


@dataclass(slots=True)
class Document:
    """What a file says: the tree, where its parts stand, and what could not be read."""

    tree: Any
    source: Source
    findings: list[Finding]


def parse_document(data: bytes, file: str) -> Document:
    """Read one YAML document. Never raises for bad input: everything wrong with it is in `findings`."""
    source = Source(file)
    text, trouble = _decode(data, file)
    if trouble is not None:
        return Document({}, source, [trouble])
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        reader = _Reader(source)
        tree = reader.read(node, ()) if node is not None else None
    except RecursionError:
        return Document({}, source, [Finding("", "nested too deeply to be settings", file)])
    except YAMLError as error:
        return Document({}, source, [_syntax_finding(error, text, file)])
    return Document({} if tree is None else tree, source, reader.findings)


def _decode(data: bytes, file: str) -> tuple[str, Finding | None]:
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        return "", Finding("", "not UTF-8 text", file, _position_after(before), "save the file as UTF-8")


def _position_after(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


def _syntax_finding(error: YAMLError, text: str, file: str) -> Finding:
    if isinstance(error, ReaderError):
        place = _position_after(text[: int(error.position)])
        return Finding("", f"not YAML: the character {error.character!r} is not allowed", file, place)
    if not isinstance(error, MarkedYAMLError):
        return Finding("", f"not YAML: {error}", file)
    mark = error.problem_mark or error.context_mark
    place_or_none = Position(mark.line + 1, mark.column + 1) if mark is not None else None
    said = ", ".join(part for part in (error.context, error.problem) if part)
    remedy = "indent with spaces" if "'\\t'" in said else ""
    return Finding("", f"not YAML: {said}", file, place_or_none, remedy)


@dataclass(slots=True)
class _Reader:
    source: Source
    findings: list[Finding] = field(default_factory=list)
    yaml: YAML = field(default_factory=lambda: YAML(typ="safe", pure=True))
    open: set[int] = field(default_factory=set)
    seen: int = 0

    def read(self, node: Node, path: KeyPath) -> Any:
        self.source.values[path] = _position(node)
        self.seen += 1
        if id(node) in self.open:
            return self._trouble(path, "an alias to something it is itself part of")
        if self.seen > _MAX_VALUES:
            if self.seen == _MAX_VALUES + 1:
                self._trouble(path, f"more than {_MAX_VALUES} values")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self.open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self.open.discard(id(node))

    def _trouble(self, path: KeyPath, text: str) -> None:
        self.findings.append(made(self.source, path, text))

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if kind not in ("str", "int", "float", "bool", "null"):
            return node.value if kind == "timestamp" else self._trouble(path, f"the tag {node.tag} means nothing here")
        try:
            value = self.yaml.constructor.construct_object(node)
            return (
                ExactFloat(node.value) if kind == "float" and node.value.strip("+-")[:2] not in _NOT_A_NUMBER else value
            )
        except (ValueError, YAMLError):
            return self._trouble(path, f"{node.value!r} is not a value of kind {kind}")

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        merged = self._merged(node, path)
        own: dict[str, Any] = {}
        for key, value in self._own_pairs(node):
            here = (*path, key.value)
            if key.value in own:
                text = f"given twice, first in line {self.source.keys[here].line}"
                self.findings.append(Finding(dotted(here), text, self.source.file, _position(key)))
                continue
            self.source.keys[here] = _position(key)
            own[key.value] = self.read(value, here)
        return merged | own

    def _own_pairs(self, node: MappingNode) -> Iterator[tuple[ScalarNode, Node]]:
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.findings.append(Finding("", "a key must be text", self.source.file, _position(key)))
            elif key.value != "<<":
                yield key, value

    def _merged(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        """What `<<` brings in; of several mappings the first wins, and own keys win over all (read after this)."""
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == "<<":
                parts = value.value if isinstance(value, SequenceNode) else [value]
                for part in reversed(parts):
                    if isinstance(part, MappingNode):
                        merged |= self.read(part, path) or {}
                    else:
                        self._trouble(path, "'<<' takes a mapping or a list of mappings")
        return merged


_NOT_A_NUMBER = (".i", ".I", ".n", ".N")


def _position(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
