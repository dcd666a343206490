"""Names in Kubernetes: of pods, of what belongs to a person, and the labels by which all of it is found. Pure."""

from __future__ import annotations

import hashlib
import re

from sampan_hub.jobs.keys import JOB_ID
from sampan_hub.jobs.model import Kind

MANAGED = "sampan.io/managed"
"""On everything of ours: `true`. What the installation's own policies are about."""
INSTANCE = "sampan.io/instance"
JOB = "sampan.io/job"
KIND = "sampan.io/kind"
OWNER = "sampan.io/owner"
CLUSTER = "sampan.io/cluster"
BATCH = "sampan.io/batch"
PROJECT = "sampan.io/project"
HOME = "sampan.io/home"
"""On the volumes of homes, which are never deleted: the owner, escaped."""
IDENTITY = "sampan.io/identity"
"""The annotation with the signed identity."""

_POD = re.compile(rf"({'|'.join(Kind)})-([a-z2-7]{{8}})-([a-z2-7]{{16}})")
_PLAIN = re.compile(r"[a-z0-9]{1,32}")
_HASH_LENGTH = 20
"""Hexadecimal digits: nobody finds a second name with the hash of another's."""


def pod_name(kind: Kind, job_id: str) -> str:
    """The one name that this job's pod can have."""
    if not JOB_ID.match(job_id):
        raise ValueError(f"{job_id!r} is no job id")
    return f"{kind}-{job_id.replace('.', '-')}"


def parse_pod_name(name: str) -> tuple[Kind, str] | None:
    """The kind and id of the job whose pod is called so; None for any other name."""
    match = _POD.fullmatch(name)
    return (Kind(match[1]), f"{match[2]}.{match[3]}") if match else None


def escape(name: str) -> str:
    """A person's or project's name as part of names in Kubernetes and as a label: no two names become the same.

    Short lower-case letters and digits stay as they are; everything else keeps what is readable of it, and gets a
    hash after a dash, which plain names never have.
    """
    if _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:20].rstrip("-")
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{readable or 'x'}-{digest}"


def home_claim(owner: str) -> str:
    """The volume claim of this person's home."""
    return f"home-{escape(owner)}"


def project_claim(project: str) -> str:
    """The volume claim of this project's shared folder."""
    return f"project-{escape(project)}"


def policy_name(instance: str, owner: str) -> str:
    """The network policy among one person's pods."""
    return f"owner-{instance}-{escape(owner)}"
