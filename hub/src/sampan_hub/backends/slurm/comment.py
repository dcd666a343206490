"""What travels in a Slurm job's comment: the identities of its tasks, packed, and a signature over them. Pure.

`sampan1.<base64url of compact JSON>.<mac>`. The mac also covers the job's name, which has batch and first index.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sampan_hub.backends.base import Identity
from sampan_hub.backends.slurm.names import JobName
from sampan_hub.jobs.keys import sign
from sampan_hub.jobs.model import Kind, Resources

MAX_BYTES = 1000
"""Slurm refuses comments of more than 1024."""

_COMMENT = re.compile(r"sampan1\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")
_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)


class TooLong(ValueError):
    """These identities do not fit into one comment."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A comment that is ours: the first of its tasks' identities, their names, and where they begin."""

    identity: Identity
    """What all tasks share; job id, index and name are those of the first."""
    name: JobName
    first: int | None
    """The first array task; None: not an array."""
    task_names: tuple[str, ...]

    def unpack(self, task: int | None, key: bytes) -> Identity | None:
        """The signed identity of one task; None for a task that the comment does not speak of."""
        if (task is None) != (self.first is None):
            return None
        place = (task or 0) - (self.first or 0)
        if not 0 <= place < len(self.task_names):
            return None
        index = self.name.index(task)
        identity = replace(
            self.identity, job_id=self.name.job_id(task), index=index, name=self.task_names[place], signature=""
        )
        return sign(key, identity)


def make_comment(identities: Sequence[Identity], name: JobName, first: int | None, key: bytes) -> str:
    """The comment of tasks `first`, `first + 1`, …; raises TooLong. All but key and name must be shared."""
    one = identities[0]
    content = [
        one.kind.value,
        one.owner,
        one.project,
        one.tenant,
        one.size,
        one.environment,
        one.parent,
        one.cluster,
        [one.resources.cores_milli, one.resources.memory_bytes, one.resources.gpus],
        one.price_micros_per_hour,
        one.uid,
        one.created_at.isoformat(),
        first,
        _pack_names([identity.name for identity in identities]),
    ]
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    comment = f"sampan1.{_encode(text)}.{_mac(key, name, text)}"
    if len(comment) > MAX_BYTES:
        raise TooLong(f"{len(identities)} jobs of {name} need {len(comment)} bytes")
    return comment


def read_comment(comment: str, name: JobName, key: bytes) -> Packed | None:
    """What the comment says if it was made here for a job of this name; else None."""
    match = _COMMENT.fullmatch(comment)
    if match is None:
        return None
    try:
        text = base64.b64decode(match[1] + "=" * (-len(match[1]) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    if _encode(text) != match[1] or not hmac.compare_digest(_mac(key, name, text), match[2]):
        return None
    return _parse(json.loads(text), name)


def _parse(content: list[Any], name: JobName) -> Packed:
    kind, owner, project, tenant, size, environment, parent, cluster, amounts, price, uid, created_at, first, names = (
        content
    )
    task_names = _unpack_names(names)
    identity = Identity(
        job_id=name.job_id(first),
        kind=Kind(kind),
        name=task_names[0],
        owner=owner,
        project=project,
        tenant=tenant,
        size=size,
        environment=environment,
        parent=parent,
        cluster=cluster,
        batch=name.batch,
        index=name.index(first),
        resources=Resources(*amounts),
        price_micros_per_hour=price,
        uid=uid,
        created_at=datetime.fromisoformat(created_at),
    )
    return Packed(identity, name, first, task_names)


def _pack_names(names: Sequence[str]) -> list[Any]:
    """`[prefix, first number, how many]` where they count up, else `[[name, …]]`."""
    match = _NUMBERED.fullmatch(names[0])
    if match is not None:
        prefix, number = match[1], int(match[2])
        if all(text == f"{prefix}{number + place}" for place, text in enumerate(names)):
            return [prefix, number, len(names)]
    return [list(names)]


def _unpack_names(packed: list[Any]) -> tuple[str, ...]:
    if len(packed) == 1:
        return tuple(packed[0])
    prefix, number, count = packed
    return tuple(f"{prefix}{number + place}" for place in range(count))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _mac(key: bytes, name: JobName, text: bytes) -> str:
    return _encode(hmac.new(key, f"slurm:{name}:".encode() + text, hashlib.sha256).digest())
