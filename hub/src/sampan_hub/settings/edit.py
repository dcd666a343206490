"""Changes one key in the text of a settings file, leaving comments, order and spelling of all others as they are."""

from __future__ import annotations

import io
import os
import re
import secrets
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.util import load_yaml_guess_indent

_PART = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([^."']+))\s*(?:\.|$)""")


class EditError(ValueError):
    """The key cannot be set; the text says why, for people."""


def parse_key(text: str) -> tuple[str, ...]:
    """`limits.user.cores`; a part with a dot in it is quoted: `sizes.'a.b'.cores`."""
    parts, place = [], 0
    while place < len(text):
        match = _PART.match(text, place)
        if match is None:
            raise EditError(f"{text!r} is not a key: write it like limits.user.cores")
        parts.append(next(part for part in match.groups() if part is not None).strip())
        place = match.end()
    if not parts or text.endswith("."):
        raise EditError(f"{text!r} is not a key: write it like limits.user.cores")
    return tuple(parts)


def with_key(text: str, key: tuple[str, ...], value: Any) -> str:
    """The same YAML document with `value` at `key`; sections that are missing are made."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    data, indent, offset = load_yaml_guess_indent(text, yaml=yaml) if text.strip() else (None, None, None)
    offset = 2 if offset is None else offset
    yaml.map_indent, yaml.sequence_indent, yaml.sequence_dash_offset = indent or 2, offset + 2, offset
    root = data if data is not None else CommentedMap()
    if not isinstance(root, CommentedMap):
        raise EditError("the file holds no keys and values")
    section = root
    for depth, part in enumerate(key[:-1]):
        if section.get(part) is None:
            section[part] = CommentedMap()
        section = section[part]
        if not isinstance(section, dict):
            raise EditError(f"{'.'.join(key[: depth + 1])} holds a value, not keys")
    section[key[-1]] = value
    out = io.StringIO()
    yaml.dump(root, out)
    head = text if data is None and text.strip() else ""
    return head + out.getvalue()


def write_text(file: Path, text: str) -> None:
    """The file is replaced whole, keeping its mode; a new one is readable by its owner alone. Follows a link."""
    target = file.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
