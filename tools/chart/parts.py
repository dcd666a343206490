"""What the components of the chart have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sampan_hub.settings.section import Section

Labels = dict[str, str]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$")] | float
"""An amount as Kubernetes writes it: `500m`, `2`, `1Gi`."""
ObjectName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")]
"""The name of something that is in the cluster already; empty: none."""
PullPolicy = Literal["", "Always", "IfNotPresent", "Never"]
Port = Annotated[int, Field(ge=1, le=65535)]
PortNumber = Annotated[int, Field(ge=0, le=65535)]


class Image(Section):
    """Which image a container runs: `registry/repository:tag`."""

    registry: str = ""
    """Default: `image.registry`."""
    repository: Annotated[str, Field(min_length=1)] = ""
    """Its name in the registry."""
    tag: str = ""
    """Default: the chart's own version of Sampan (`appVersion`)."""
    pullPolicy: PullPolicy = ""
    """Default: `image.pullPolicy`."""
    pullSecrets: tuple[ObjectName, ...] = ()
    """Names of secrets to fetch it with, beside `imagePullSecrets`."""


class Resources(Section):
    """What a container asks for and may use at most."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """What the node must have free for it."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """What it may use at most."""


def asks_for(cpu: str, memory: str, limit: str) -> Resources:
    """So much processor and memory kept free; at most `limit` of memory, and what processor there is."""
    return Resources(requests={"cpu": cpu, "memory": memory}, limits={"memory": limit})


class Toleration(Section):
    """A taint of nodes that a pod puts up with, as Kubernetes writes it."""

    key: str | None = None
    """The taint's key; left out: every taint."""
    operator: Literal["Equal", "Exists"] | None = None
    """Whether the value counts."""
    value: str | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Left out: every effect."""
    tolerationSeconds: int | None = None
    """For how long, with `NoExecute`."""


class Placed(Section):
    """What every pod of the chart takes."""

    nodeSelector: Labels = Field(default_factory=dict)
    """Labels that its node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that it puts up with."""
    labels: Labels = Field(default_factory=dict)
    """More labels of its pod."""
    annotations: Labels = Field(default_factory=dict)
    """More annotations of its pod."""


class Disruption(Section):
    """A PodDisruptionBudget."""

    enabled: bool = True
    """Let nobody drain the node of its only pod unasked: `kubectl drain` then waits until you move it yourself."""


class StateVolume(Section):
    """A volume of its own."""

    storageClassName: ObjectName = ""
    """Default: the cluster's own storage class."""
    storage: Quantity = "5Gi"
    """How much it holds."""
    annotations: Labels = Field(default_factory=dict)
    """More annotations of its claim."""


class ServiceAccount(Section):
    """A service account."""

    annotations: Labels = Field(default_factory=dict)
    """Annotations, for clouds that give rights by them."""
