"""Identity and credentials: ids, signatures over identities, `subject.kind.mac` credentials. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Literal, get_args

from sampan_hub.backends.base import Identity
from sampan_hub.jobs.model import Resources

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
JOB_ID = re.compile(r"^[a-z2-7]{8}\.[a-z2-7]{16}$")

CredentialKind = Literal["hub", "admin", "bootstrap", "notebook", "scheduler", "worker"]


_SIGNED = tuple(field.name for field in fields(Identity) if field.name != "signature")
_RESOURCES = tuple(field.name for field in fields(Resources))


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def make_instance_id() -> str:
    """A random id for one installation: 40 bits, enough to tell neighbours on one cluster apart."""
    return _random(8)


def make_random_id(instance: str) -> str:
    """A random key (80 bits beside the instance), for what belongs to no batch: a cluster."""
    return f"{instance}.{_random(16)}"


def make_job_id(instance: str, batch: str, index: int) -> str:
    """The key of a batch's job. A backend that keeps only (batch, index) can tell it without any row.

    As good as random: the batch's public id comes from its caller's random key.
    """
    digest = hashlib.sha256(f"{batch}:{index}".encode()).digest()
    return f"{instance}.{base64.b32encode(digest)[:16].decode().lower()}"


def instance_of(job_id: str) -> str | None:
    """The instance part of a well-formed job id; None for anything else."""
    return job_id.split(".")[0] if JOB_ID.match(job_id) else None


def make_batch_id(submitter: str, key: str) -> str:
    """The public id of a batch: the caller's key within that caller's own names, so that callers never collide."""
    digest = hashlib.sha256(f"{len(submitter)}:{submitter}:{key}".encode()).digest()
    return base64.b32encode(digest)[:24].decode().lower()


def _mac(key: bytes, message: bytes) -> str:
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _canonical(identity: Identity) -> bytes:
    """Every field but the signature. By name and not by `asdict`: each listing verifies every job it shows."""
    values = {name: getattr(identity, name) for name in _SIGNED}
    resources = {name: getattr(identity.resources, name) for name in _RESOURCES}
    values |= {"resources": resources, "created_at": identity.created_at.isoformat(), "signature": ""}
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def sign(key: bytes, identity: Identity) -> Identity:
    """The same identity with its signature over every field (the uid included)."""
    return replace(identity, signature=_mac(key, _canonical(identity)))


@lru_cache(maxsize=1 << 16)
def is_signed(key: bytes, identity: Identity) -> bool:
    """Whether the signature is ours and covers exactly these fields.

    Remembered: each plan asks it again of every job that a listing shows, and the answer never changes.
    """
    return hmac.compare_digest(identity.signature, _mac(key, _canonical(identity)))


@dataclass(frozen=True, slots=True)
class Credential:
    """Who speaks: `subject` is a job, cluster or batch id, or the fixed name of the hub or the command line."""

    subject: str
    kind: CredentialKind


def make_credential(key: bytes, subject: str, kind: CredentialKind) -> str:
    """`subject.kind.mac`; the subject may itself contain dots, the last two parts never do."""
    return f"{subject}.{kind}.{_mac(key, f'{subject}.{kind}'.encode())}"


def parse_credential(key: bytes, text: str) -> Credential | None:
    """The credential's content if we made it; None for everything else, in constant time for a given length."""
    parts = text.rsplit(".", 2)
    if len(parts) != 3 or parts[1] not in get_args(CredentialKind):
        return None
    subject, kind, mac = parts
    if not hmac.compare_digest(mac.encode(), _mac(key, f"{subject}.{kind}".encode()).encode()):
        return None
    return Credential(subject, kind)  # type: ignore[arg-type]
