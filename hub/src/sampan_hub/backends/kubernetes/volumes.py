"""Where a pod's files are: homes, projects' folders, scratch; and the claims for the lasting ones. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sampan_hub.backends.base import Identity
from sampan_hub.backends.kubernetes import names
from sampan_hub.jobs.model import Kind
from sampan_hub.settings.kubernetes import KubernetesStorage, SharedVolume, Volume

Json = dict[str, Any]

HOME = "/home/user"
SCRATCH = "/scratch"
PROJECTS = "/projects"
JOB_DIR = "/var/run/sampan-job"
"""In memory: what a job is handed at its claim never touches a disk."""
TOKEN_DIR = "/var/run/sampan"  # noqa: S105 - a folder
TOKEN_FILE = f"{TOKEN_DIR}/token"
AUDIENCE = "sampan"
"""What tokens are asked for; the API server itself takes none of them."""
TOKEN_LIFETIME_S = 3600
_JOB_DIR_SIZE = "32Mi"
_READ_BY_OWNER_AND_GROUP = 0o440


@dataclass(slots=True)
class Volumes:
    """What a pod's specification says of them."""

    volumes: list[Json] = field(default_factory=list)
    mounts: list[Json] = field(default_factory=list)

    def add(self, name: str, path: str, **source: Any) -> None:
        self.volumes.append({"name": name, **source})
        self.mounts.append({"name": name, "mountPath": path})


def has_home(kind: Kind, storage: KubernetesStorage) -> bool:
    """Whether this kind of job sees its owner's home. One node at a time can hold a `ReadWriteOnce` volume: it is the
    notebooks', so that nothing else ever waits for it."""
    return kind is Kind.NOTEBOOK or storage.home.access == "ReadWriteMany"


def make_volumes(identity: Identity, storage: KubernetesStorage) -> Volumes:
    """Everything that is mounted into this job's pod."""
    made = Volumes()
    if has_home(identity.kind, storage):
        made.add("home", HOME, persistentVolumeClaim={"claimName": names.home_claim(identity.owner)})
    else:
        made.add("home", HOME, emptyDir={"sizeLimit": str(storage.scratch.size)})
    if identity.project in storage.projects:
        claim = {"claimName": names.project_claim(identity.project)}
        made.add("project", f"{PROJECTS}/{identity.project}", persistentVolumeClaim=claim)
    made.add("scratch", SCRATCH, emptyDir={"sizeLimit": str(storage.scratch.size)})
    made.add("tmp", "/tmp", emptyDir={"sizeLimit": str(storage.scratch.size)})  # noqa: S108 - the pod's own
    made.add("job", JOB_DIR, emptyDir={"medium": "Memory", "sizeLimit": _JOB_DIR_SIZE})
    token = {"audience": AUDIENCE, "expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}
    sources = [{"serviceAccountToken": token}]
    made.add("token", TOKEN_DIR, projected={"sources": sources, "defaultMode": _READ_BY_OWNER_AND_GROUP})
    made.mounts[-1]["readOnly"] = True
    return made


def make_claims(identity: Identity, storage: KubernetesStorage) -> Iterator[Json]:
    """The lasting volumes that must be there before this job's pod."""
    if has_home(identity.kind, storage):
        labels = {names.MANAGED: "true", names.HOME: names.escape(identity.owner)}
        whose = {"sampan.io/owner-name": identity.owner}
        yield _make_claim(names.home_claim(identity.owner), labels, whose, storage.home, storage.home.access)
    shared = storage.projects.get(identity.project)
    if shared is not None:
        labels = {names.MANAGED: "true", names.PROJECT: names.escape(identity.project)}
        yield _make_claim(names.project_claim(identity.project), labels, {}, shared, "ReadWriteMany")


def _make_claim(
    name: str, labels: dict[str, str], annotations: dict[str, str], volume: Volume | SharedVolume, access: str
) -> Json:
    metadata: Json = {"name": name, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    spec: Json = {"accessModes": [access], "resources": {"requests": {"storage": str(volume.size)}}}
    if volume.class_ is not None:
        spec["storageClassName"] = volume.class_
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
