"""`values.yaml` as a model: what may be set, what it means, and what holds where nothing is said."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from sampan_hub.settings.section import Section
from tools.chart.components import (
    CommonImage,
    Hub,
    Ingress,
    Keys,
    NetworkPolicies,
    Postgresql,
    PrePuller,
    Proxy,
    Rbac,
    Scheduling,
    Service,
    ServiceMonitor,
    Singleuser,
)
from tools.chart.parts import ObjectName

CONFIG: dict[str, Any] = {
    "profile": "site",
    "url": "",
    "backends": {"kubernetes": {"kind": "kubernetes", "image": {"env": "NOTEBOOK_IMAGE"}}},
    "sizes": {
        "small": {"cores": 1, "memory": "2G"},
        "medium": {"cores": 2, "memory": "4G"},
        "large": {"cores": 4, "memory": "8G"},
    },
    "default_size": "small",
}
"""What the chart says in `sampan.yaml` before the site does."""
CONFIG_COMMENT = """sampan.yaml itself: docs/settings.md has every key, and the schema refuses all others. `url` is
where people find Sampan and has to be set. Where it says nothing else, `tls` is `own`, `login` is `links` and the
databases are those of `postgresql`. All of it is kept in a secret; `{file: secrets/NAME}` is a file of
`existingSecret`."""
THE_CHARTS_OWN = ("layout", "listen", "state_dir")
"""Keys of it that follow from what the chart installs."""

NO_IMAGE = "there is no image: build and push them with `make images push REGISTRY=…`, and set image.registry to that"
NO_URL = "there is no address: set config.url to where people find Sampan, such as https://hub.example.org/"
REQUIRED = {("image", "registry"): NO_IMAGE, ("config", "url"): NO_URL}
"""What nobody can guess for a site, and what an installation without it is told."""


class Values(Section):
    """All that may be set for the chart, beside `config`."""

    model_config = ConfigDict(title="values.yaml of the chart sampan")

    image: CommonImage = CommonImage()
    """All images."""
    imagePullSecrets: tuple[ObjectName, ...] = ()
    """Names of secrets to fetch all images with."""
    existingSecret: ObjectName = ""
    """A secret of your own whose keys `config` may refer to, as files: `{file: secrets/NAME}`."""
    keys: Keys = Keys()
    """Keys and certificates of this installation. Made once, in the cluster, and never by Helm."""
    hub: Hub = Hub()
    """The pod of JupyterHub and the compute service."""
    service: Service = Service()
    """The compute service, beside JupyterHub in the same pod."""
    proxy: Proxy = Proxy()
    """The proxy that everything comes in by. It stays as it is when the hub is upgraded."""
    singleuser: Singleuser = Singleuser()
    """Notebooks, schedulers and workers. All the rest of them is in `config`."""
    postgresql: Postgresql = Postgresql()
    """A PostgreSQL for trials and small sites: one pod, one volume, no replicas. Others name theirs in `config`."""
    ingress: Ingress = Ingress()
    """An Ingress in front of the proxy."""
    networkPolicy: NetworkPolicies = NetworkPolicies()
    """Who may connect to whom. Takes a cluster that enforces NetworkPolicies."""
    rbac: Rbac = Rbac()
    """What Sampan may do in the cluster."""
    scheduling: Scheduling = Scheduling()
    """Who goes first where room is short."""
    prePuller: PrePuller = PrePuller()
    """Fetches images onto nodes before anybody waits for them."""
    serviceMonitor: ServiceMonitor = ServiceMonitor()
    """A ServiceMonitor, where the Prometheus operator is installed."""
    global_: dict[str, Any] = Field(default_factory=dict, alias="global")
    """Helm's own, for charts that have this one among theirs."""
