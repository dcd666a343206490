"""The keys of a Kubernetes backend (`kind: kubernetes`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from sampan_hub.settings.section import BackendSection, Name, Section
from sampan_hub.settings.units import REFERENCES, MemoryBytes

KubernetesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""How Kubernetes' own objects may be called."""
Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}$"
Image = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN)]
"""An image as pods name it: `registry/repository:tag`, or with a digest."""
ReferredImage = Annotated[
    Image, WithJsonSchema({"format": "image", "anyOf": [{"type": "string", "pattern": IMAGE_PATTERN}, *REFERENCES]})
]
"""One that may be referred to: who installs Sampan knows the image beside the one that runs the service."""
LabelKey = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]
Port = Annotated[int, Field(ge=1024, le=65535, strict=True)]

GPU_RESOURCE = "nvidia.com/gpu"
IMAGE_PREFIX = Path("/opt/sampan")
"""Where the images keep the Python environment of notebooks and workers."""


class Toleration(Section):
    """A taint that jobs put up with, as Kubernetes spells it."""

    key: LabelKey | None = None
    """The taint's key. Left out: every taint, with `operator: Exists`."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """`Equal` to `value`, or `Exists` whatever its value."""
    value: LabelValue = ""
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Left out: every effect."""


class KubernetesPlacement(Section):
    """On which nodes jobs run."""

    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that jobs put up with."""
    gpu_resource: LabelKey | None = None
    """What a GPU is called as a resource of nodes. Default: `nvidia.com/gpu`."""


class Volume(Section):
    """What volumes of one purpose are made of."""

    class_: Annotated[KubernetesName | None, Field(alias="class")] = None
    """The storage class. Default: the cluster's."""
    size: Annotated[MemoryBytes, Field(gt=0)] = 10 << 30
    """How much each holds."""
    access: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """`ReadWriteMany` where the storage class can: then workers see the files, too. With `ReadWriteOnce` only one node
    can hold the volume, so notebooks alone have it."""


class SharedVolume(Section):
    """What a folder is made of that several people share: it is always `ReadWriteMany`."""

    class_: Annotated[KubernetesName | None, Field(alias="class")] = None
    """The storage class, one that can do `ReadWriteMany`. Default: the cluster's."""
    size: Annotated[MemoryBytes, Field(gt=0)] = 10 << 30
    """How much it holds."""


class Scratch(Section):
    """Space on the node's own disk, gone with the job."""

    size: Annotated[MemoryBytes, Field(gt=0)] = 10 << 30
    """The most one job may use; a job above it is ended."""


class KubernetesStorage(Section):
    """Where files are kept."""

    home: Volume = Volume()
    """Each person's home: one volume, made with their first job and never deleted by Sampan."""
    projects: dict[Name, SharedVolume] = Field(default_factory=dict)
    """By project: a folder `/projects/NAME` that its members share."""
    scratch: Scratch = Scratch()
    """`/scratch` of each job."""


class KubernetesPorts(Section):
    """The ports that jobs listen on."""

    first: Port = 31000
    """The lowest."""
    last: Port = 31999
    """The highest."""


class KubernetesBackend(KubernetesPlacement, BackendSection):
    """Jobs are pods of a Kubernetes cluster."""

    kind: Literal["kubernetes"]
    """Which sort of backend this is."""
    image: ReferredImage
    """The image of notebooks, schedulers and workers, where their environment names none."""
    namespace: Namespace | None = None
    """Where the pods are. Default: the namespace of Sampan's own pod."""
    kubeconfig: Path | None = None
    """A file that says how to reach the cluster and as whom. Default: the service account of Sampan's own pod."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When nodes fetch the image."""
    image_pull_secrets: tuple[KubernetesName, ...] = ()
    """Names of secrets with which nodes fetch the image."""
    service_account: KubernetesName = "sampan-jobs"
    """The service account of jobs. It needs no right to anything: it only says whose pods they are."""
    reach: str | None = None
    """The URL under which pods reach Sampan, `https://…/`. Default: `https://proxy-public/`, at the path of `url`."""
    ports: KubernetesPorts = KubernetesPorts()
    """The ports that jobs listen on."""
    cluster_host: Literal["job", "notebook"] = "job"
    """Where the schedulers of clusters whose workers run here are: each in a pod of its own, or beside the notebook
    that asked, where the notebook's running out of memory takes them along."""
    storage: KubernetesStorage = KubernetesStorage()
    """Where files are kept."""
    network_policies: bool = Field(default=True, strict=True)
    """Let each person's pods be reached only by what has to reach them. Needs a cluster that enforces policies."""
    internet: bool = Field(default=True, strict=True)
    """Let pods reach public addresses. Private and link-local ones are reached only as `allow` says."""
    allow: tuple[str, ...] = ()
    """Networks that pods may reach besides, such as `10.20.0.0/16`: a file server, a licence server."""
    sizes: dict[Name, KubernetesPlacement] = Field(default_factory=dict)
    """By size: what differs for jobs of that size."""

    def placement_of(self, size: str) -> KubernetesPlacement:
        """Where jobs of this size go: labels of both, taints of both, the size's own name for a GPU."""
        own = self.sizes.get(size, KubernetesPlacement())
        return KubernetesPlacement(
            node_selector={**self.node_selector, **own.node_selector},
            tolerations=(*self.tolerations, *own.tolerations),
            gpu_resource=own.gpu_resource or self.gpu_resource or GPU_RESOURCE,
        )
