"""The values of each component: one section of `values.yaml` each."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from images.build import PROXY
from sampan_hub.settings.section import Section
from tools.chart.parts import (
    Disruption,
    Image,
    Labels,
    ObjectName,
    Placed,
    PortNumber,
    PullPolicy,
    Resources,
    ServiceAccount,
    StateVolume,
    Toleration,
    asks_for,
)


class CommonImage(Section):
    """What all images have in common."""

    registry: str = ""
    """Where they are, with the path if there is one: what was given to `make images push REGISTRY=…`."""
    pullPolicy: PullPolicy = "IfNotPresent"
    """When nodes fetch them."""


class Keys(Section):
    """Keys and certificates of this installation. Made once, in the cluster, and never by Helm."""

    existingSecret: ObjectName = ""
    """A secret of your own in place of the one that is made: a copy of another installation's."""
    image: Image = Image(repository="sampan/hub")
    """What makes them."""
    resources: Resources = asks_for("50m", "128Mi", "512Mi")
    """What that takes."""


class Egress(Section):
    """Where a pod may connect to."""

    egress: tuple[dict[str, Any], ...] = ({},)
    """Rules as Kubernetes writes them. Default: anywhere, as the Kubernetes API and identity providers may be."""


class Ingresses(Section):
    """From where a pod may be reached."""

    ingress: tuple[dict[str, Any], ...] = ()
    """Peers as Kubernetes writes them under `from`. Empty: anybody, for it is the entry."""


class Hub(Placed):
    """The pod of JupyterHub and the compute service."""

    image: Image = Image(repository="sampan/hub")
    """Its image."""
    resources: Resources = asks_for("200m", "384Mi", "1Gi")
    """JupyterHub itself."""
    state: StateVolume = StateVolume(storage="5Gi")
    """The folder of everything Sampan remembers beside its databases: logs of ended jobs, links, the instance id."""
    existingClaim: ObjectName = ""
    """A claim of your own in place of that one."""
    extraEnv: dict[str, str] = Field(default_factory=dict)
    """More variables for JupyterHub and the service: proxies, `{env: NAME}` in `config`. Secrets: `existingSecret`."""
    serviceAccount: ServiceAccount = ServiceAccount()
    """Whose rights the compute service has."""
    networkPolicy: Egress = Egress()
    """Where it may connect to."""
    pdb: Disruption = Disruption(enabled=False)
    """Its PodDisruptionBudget."""


class Service(Section):
    """The compute service, beside JupyterHub in the same pod."""

    resources: Resources = asks_for("200m", "256Mi", "1Gi")
    """What it takes."""


class NodePorts(Section):
    """Ports on every node, with `type: NodePort`."""

    https: PortNumber = 0
    """0: the cluster chooses."""


class PublicService(Section):
    """The Kubernetes Service by which people come in."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "LoadBalancer"
    """`ClusterIP` behind an Ingress."""
    labels: Labels = Field(default_factory=dict)
    """More labels."""
    annotations: Labels = Field(default_factory=dict)
    """Annotations, for clouds that shape load balancers by them."""
    nodePorts: NodePorts = NodePorts()
    """With `type: NodePort`."""
    loadBalancerIP: str = ""
    """The address to ask for."""
    loadBalancerSourceRanges: tuple[str, ...] = ()
    """From which networks it takes connections. Empty: all."""
    externalIPs: tuple[str, ...] = ()
    """Addresses of nodes on which it answers, too."""


class CertificateSecret(Section):
    """A certificate of your own."""

    name: ObjectName = ""
    """The secret it is in. Empty: Sampan makes its own, which browsers do not know."""
    crt: str = "tls.crt"
    """Which key of the secret holds the certificate and what it chains to."""
    key: str = "tls.key"
    """Which one holds its private key."""
    ca: str = ""
    """Which one holds the certificate of the authority that signed it, where that is your own."""


class Https(Section):
    """What the proxy shows to browsers."""

    secret: CertificateSecret = CertificateSecret()
    """A certificate of your own, for people: pods come in by another name, and are shown one that Sampan made."""


class Proxy(Placed):
    """The proxy that everything comes in by. It stays as it is when the hub is upgraded."""

    image: Image = Image(repository=PROXY.partition(":")[0], tag=PROXY.partition(":")[2])
    """Its image, with a version of its own: it rises when what the proxy does has changed."""
    resources: Resources = asks_for("100m", "128Mi", "512Mi")
    """What it takes."""
    service: PublicService = PublicService()
    """How people come in."""
    https: Https = Https()
    """What the proxy shows to browsers."""
    networkPolicy: Ingresses = Ingresses()
    """From where it may be reached."""
    pdb: Disruption = Disruption(enabled=True)
    """Its PodDisruptionBudget."""


class Singleuser(Section):
    """Notebooks, schedulers and workers. All the rest of them is in `config`."""

    image: Image = Image(repository="sampan/notebook")
    """Their image, where `config` names no other."""


class Postgresql(Placed):
    """A PostgreSQL for trials and small sites: one pod, one volume, no replicas. Others name theirs in `config`."""

    enabled: bool = True
    """False: `config.database` and `config.hub_database` name your own, or SQLite in the state folder is enough."""
    image: Image = Image(repository="sampan/postgresql")
    """Its image."""
    resources: Resources = asks_for("100m", "128Mi", "512Mi")
    """What it takes."""
    storage: StateVolume = StateVolume(storage="8Gi")
    """Its volume. It stays when the release is uninstalled."""


class Ingress(Section):
    """An Ingress in front of the proxy."""

    enabled: bool = False
    """Whether there is one."""
    annotations: Labels = Field(default_factory=dict)
    """What its controller is told. The proxy behind speaks HTTPS: most controllers have to be told so."""
    ingressClassName: str = ""
    """Which controller it is for."""
    hosts: tuple[str, ...] = ()
    """Names under which it answers: that of `config.url`."""
    pathType: Literal["Prefix", "Exact", "ImplementationSpecific"] = "Prefix"
    """How its path is matched."""
    tls: tuple[dict[str, Any], ...] = ()
    """Its certificates: `[{hosts: […], secretName: …}]`."""


class NetworkPolicies(Section):
    """Who may connect to whom. Takes a cluster that enforces NetworkPolicies."""

    enabled: bool = True
    """Nobody's pods are reached by anything that has no business there."""


class Rbac(Section):
    """What Sampan may do in the cluster."""

    create: bool = True
    """Make its roles. False: whoever installs it made them before."""
    nodes: bool = True
    """Let it list nodes (a ClusterRole), so that a size that no node can hold is refused at once."""


class PodPriority(Section):
    """A PriorityClass for proxy and hub."""

    enabled: bool = True
    """Nothing of people's pushes proxy and hub off their node."""
    value: int = 1_000_000
    """Above that of all that people run."""


class Scheduling(Section):
    """Who goes first where room is short."""

    podPriority: PodPriority = PodPriority()
    """For proxy and hub."""


class ContinuousPuller(Section):
    """A DaemonSet that keeps images on every node."""

    enabled: bool = True
    """A server then starts within seconds on a node that never had one."""


class PrePuller(Section):
    """Fetches images onto nodes before anybody waits for them."""

    continuous: ContinuousPuller = ContinuousPuller()
    """On all nodes, also those that join later."""
    extraImages: tuple[str, ...] = ()
    """More images, such as those of `config.environments`. A shell has to be in them."""
    resources: Resources = Resources(requests={"cpu": "1m", "memory": "8Mi"}, limits={"cpu": "100m", "memory": "64Mi"})
    """What it takes on each node."""
    nodeSelector: Labels = Field(default_factory=dict)
    """On which nodes."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that it puts up with."""


class TokenSecret(Section):
    """A key in a secret."""

    name: ObjectName = ""
    """The secret's name."""
    key: str = "token"
    """The key in it."""


class ServiceMonitor(Section):
    """A ServiceMonitor, where the Prometheus operator is installed."""

    enabled: bool = False
    """Whether there is one."""
    labels: Labels = Field(default_factory=dict)
    """Labels by which Prometheus picks it."""
    interval: str = "60s"
    """How often to ask."""
    token: TokenSecret = TokenSecret()
    """Where an administrator's token is: `sampan token NAME --note prometheus` prints one."""
