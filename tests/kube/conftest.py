"""The cluster of the session. If one runs on this computer already, tests use it and leave it up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from images.build import IMAGES
from tests.testbeds.kube.cluster import KubeCluster, running_cluster

REGISTRY = "kt.local"
"""Nodes cannot reach a registry: images are loaded under names that begin with this one."""


@dataclass(frozen=True, slots=True)
class Images:
    """Names that pods use, with `imagePullPolicy: IfNotPresent` or `Never`."""

    hub: str
    notebook: str
    postgresql: str


@pytest.fixture(scope="session")
def kube() -> Iterator[KubeCluster]:
    """One real node and two simulated ones."""
    with running_cluster(kwok_nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def images(kube: KubeCluster) -> Images:
    """Our images as this clone makes them, loaded into the cluster."""
    kube.build_images()
    for image in IMAGES.values():
        for name in image.references():
            kube.load_image(name, f"{REGISTRY}/{name}")
    return Images(**{name: f"{REGISTRY}/{image.reference()}" for name, image in IMAGES.items()})
