"""The signed identity as it travels with a pod: one annotation. Pure.

Whoever may make pods in the namespace can write one. So it counts only with our signature, and only on the pod that
has its job's one name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sampan_hub.backends.base import Identity
from sampan_hub.backends.kubernetes import names
from sampan_hub.jobs.keys import is_signed
from sampan_hub.jobs.model import Kind, Resources

_FIELDS = tuple(field.name for field in fields(Identity))
_READ = frozenset({"kind", "resources", "created_at"})
"""Those that are read as what they are."""
_NUMBERS = frozenset({"index", "uid", "price_micros_per_hour"})
_OPTIONAL = frozenset({"parent", "cluster", "price_micros_per_hour"})


def render_identity(identity: Identity) -> str:
    """As one line of JSON."""
    values = {name: getattr(identity, name) for name in _FIELDS}
    resources = identity.resources
    values["resources"] = [resources.cores_milli, resources.memory_bytes, resources.gpus]
    values["created_at"] = identity.created_at.isoformat()
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def parse_identity(text: str) -> Identity | None:
    """What `render_identity` wrote; None for anything else. Whether it is true is another question."""
    try:
        values: Any = json.loads(text)
        values["resources"] = Resources(*map(int, values["resources"]))
        values["created_at"] = datetime.fromisoformat(values["created_at"])
        values["kind"] = Kind(values["kind"])
        identity = Identity(**values)
    except (ValueError, TypeError, KeyError):
        return None
    return identity if _has_forms(identity) else None


def _has_forms(identity: Identity) -> bool:
    """Whether every value is of its type: whoever wrote it may have written anything."""
    values = {name: getattr(identity, name) for name in _FIELDS if name not in _READ}
    absent = {name for name in _OPTIONAL if values[name] is None}
    texts = [value for name, value in values.items() if name not in _NUMBERS | absent]
    numbers = [values[name] for name in _NUMBERS - absent]
    are_typed = all(isinstance(text, str) for text in texts) and all(type(number) is int for number in numbers)
    return are_typed and identity.signature.isascii() and identity.created_at.tzinfo is not None


def read_identity(metadata: Mapping[str, Any]) -> Identity | None:
    """The identity that a pod carries, true or not; None where there is none that can be read."""
    return parse_identity((metadata.get("annotations") or {}).get(names.IDENTITY, ""))


def is_of(identity: Identity, pod_name: str, key: bytes) -> bool:
    """Whether we made this identity, for this very pod."""
    return names.parse_pod_name(pod_name) == (identity.kind, identity.job_id) and is_signed(key, identity)
