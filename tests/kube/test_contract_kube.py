"""The promises of `backends.base`, kept by the Kubernetes backend on a real cluster, with the suite of all backends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.test_backend_contract import *  # noqa: F403  (every test of the suite, as it is)
from tests.kube.kube_rig import RESTRICTED, Ground, KubeRig
from tests.testbeds.kube.cluster import KubeCluster


@pytest.fixture(scope="module")
def ground(kube: KubeCluster) -> Iterator[Ground]:
    with kube.namespace("contract", RESTRICTED) as namespace:
        made = Ground(kube, namespace)
        yield made
        made.close()


@pytest.fixture
async def rig(ground: Ground, tmp_path: Path) -> AsyncIterator[KubeRig]:
    made = KubeRig(ground, tmp_path)
    yield made
    await made.close()
