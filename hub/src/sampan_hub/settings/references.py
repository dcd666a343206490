"""`{file: PATH}` and `{env: NAME}`: puts the content in their place, where a secret may stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan_hub.settings.findings import Finding, KeyPath, Source, made
from sampan_hub.settings.units import SecretText

SECRET_PLACES: tuple[KeyPath, ...] = (("database",), ("hub_database",), ("login", "config"))
"""Where references may stand: at these keys, and anywhere inside them."""
PLAIN_PLACES: tuple[KeyPath, ...] = (("backends", "*", "image"),)
"""Where they may stand, too, for what is no secret: at these very keys; `*` is any name."""

OWN_VARIABLES = ("SAMPAN_", "JUPYTERHUB_", "JPY_", "CONFIGPROXY_")
"""How the variables begin that `sampan up` keeps from its processes, lest they take another hub's for their own."""
_SECRET_NAME = re.compile(r"(secret|password|passphrase|private_?key|api_?key|token)s?$", re.IGNORECASE)


def is_secret_place(path: KeyPath) -> bool:
    """Whether what stands at `path` may be a secret, and so is never quoted in a message."""
    return any(path[: len(place)] == place for place in SECRET_PLACES)


def holds_plain_secret(value: Any, path: KeyPath) -> bool:
    """Whether `value`, meant for `path`, has a secret written out in it rather than referred to."""
    if isinstance(value, dict):
        return not _is_reference(value) and any(holds_plain_secret(item, (*path, key)) for key, item in value.items())
    if isinstance(value, list):
        return any(holds_plain_secret(item, (*path, index)) for index, item in enumerate(value))
    named = bool(path) and _SECRET_NAME.search(str(path[-1])) is not None
    return isinstance(value, str) and is_secret_place(path) and (named or path in SECRET_PLACES)


def _is_reference(value: dict[str, Any]) -> bool:
    return len(value) == 1 and all(key in ("file", "env") and isinstance(value[key], str) for key in value)


def _leads_to(place: KeyPath, path: KeyPath) -> bool:
    """Whether `path` is the place or on the way to it."""
    return len(path) <= len(place) and all(
        own in ("*", step) for own, step in zip(place[: len(path)], path, strict=True)
    )


@dataclass(slots=True)
class References:
    """Resolves the references of one settings file; what cannot be resolved becomes a finding at its place."""

    source: Source
    folder: Path
    environ: Mapping[str, str]
    findings: list[Finding] = field(default_factory=list)

    def resolved(self, tree: dict[str, Any]) -> dict[str, Any]:
        """A copy with every reference replaced by its text; text under the name of a secret masks itself too."""
        return {key: self._descend(value, (key,)) for key, value in tree.items()}

    def _descend(self, value: Any, path: KeyPath) -> Any:
        if is_secret_place(path):
            return self._replaced(value, path)
        if any(_leads_to(place, path) and len(path) == len(place) for place in PLAIN_PLACES):
            return str(self._replaced(value, path)) if isinstance(value, dict) and _is_reference(value) else value
        leads_on = any(_leads_to(place, path) for place in (*SECRET_PLACES, *PLAIN_PLACES))
        if leads_on and isinstance(value, dict):
            return {key: self._descend(item, (*path, key)) for key, item in value.items()}
        return value

    def _replaced(self, value: Any, path: KeyPath) -> Any:
        if isinstance(value, list):
            return [self._replaced(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and _SECRET_NAME.search(str(path[-1])):
            return SecretText(value)
        if not isinstance(value, dict):
            return value
        if _is_reference(value):
            ((kind, target),) = value.items()
            return self._file(target, (*path, kind)) if kind == "file" else self._variable(target, (*path, kind))
        return {key: self._replaced(item, (*path, key)) for key, item in value.items()}

    def _file(self, target: str, path: KeyPath) -> SecretText:
        file = self.folder / Path(target).expanduser()
        try:
            text = file.read_text("utf-8").strip()
        except OSError as error:
            return self._missing(path, f"{file} cannot be read: {error.strerror}")
        except ValueError:
            return self._missing(path, f"{file} is not UTF-8 text")
        return SecretText(text) if text else self._missing(path, f"{file} is empty")

    def _variable(self, name: str, path: KeyPath) -> SecretText:
        if name.startswith(OWN_VARIABLES):
            reserved = ", ".join(OWN_VARIABLES)
            text = f"the environment variable {name} does not reach the hub: {reserved} are reserved beginnings"
            return self._missing(path, text)
        text = self.environ.get(name, "")
        return SecretText(text) if text else self._missing(path, f"the environment variable {name} is not set")

    def _missing(self, path: KeyPath, text: str) -> SecretText:
        self.findings.append(made(self.source, path, text))
        return SecretText("missing")
