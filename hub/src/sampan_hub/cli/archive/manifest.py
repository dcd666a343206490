"""What a backup says of itself: which installation, when, and the checksum of every file in it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

FORMAT = 1
MANIFEST = "manifest.json"
INSTANCE = "instance"
SETTINGS = "settings.yaml"
PORTS = "ports.json"
DATABASES = ("hub", "sampan")
REQUIRED = (INSTANCE, "keys/service.key", "keys/signing.key", "keys/secrets.key", "keys/hub-cookie")
_MEMBER = re.compile(
    r"instance|settings\.yaml|ports\.json|(hub|sampan)\.(sqlite|pgdump)|keys/[a-z][a-z.-]{0,62}"
    r"|links/[0-9a-f]{64}\.json|tls/[a-z][a-z-]{0,62}\.(crt|key)"
)
_INSTANCE = re.compile(r"[a-z2-7]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BackupError(Exception):
    """A backup could not be made or used: what, why, and what to do. Nothing was changed unless it says so."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the backup."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`manifest.json`, the first file in the tar."""

    version: str
    """The Sampan that made it."""
    instance: str
    created_at: datetime
    members: Mapping[str, Member]

    def database(self, name: str) -> str:
        """The member that holds this database: `hub.sqlite` or `hub.pgdump`."""
        return next(member for member in (f"{name}.sqlite", f"{name}.pgdump") if member in self.members)


def render_manifest(manifest: Manifest) -> bytes:
    """As `parse_manifest` reads it."""
    record = {"format": FORMAT, **asdict(manifest), "created_at": manifest.created_at.isoformat()}
    return json.dumps(record, indent=2).encode()


def parse_manifest(data: bytes) -> Manifest:
    """The manifest; raises BackupError when it is none, or one of a later format."""
    try:
        record = json.loads(data)
        if record["format"] != FORMAT:
            raise BackupError(
                f"It was made by Sampan {record['version']} in a form (format {record['format']}) that this version "
                f"does not read: install that version."
            )
        manifest = Manifest(
            version=str(record["version"]),
            instance=_matching(_INSTANCE, record["instance"]),
            created_at=_moment(record["created_at"]),
            members={_matching(_MEMBER, name): _member(member) for name, member in record["members"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError("Its manifest is not that of a backup made by `sampan backup`.") from error
    missing = [name for name in REQUIRED if name not in manifest.members]
    missing += [name for name in DATABASES if not {f"{name}.sqlite", f"{name}.pgdump"} & manifest.members.keys()]
    if missing:
        raise BackupError(f"It is incomplete: {', '.join(missing)} missing.")
    return manifest


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"unexpected {value!r}")
    return value


def _member(record: Any) -> Member:
    size_bytes = record["size_bytes"]
    if not isinstance(size_bytes, int) or size_bytes < 0:
        raise ValueError(f"unexpected size {size_bytes!r}")
    return Member(size_bytes, _matching(_SHA256, record["sha256"]))


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return moment
