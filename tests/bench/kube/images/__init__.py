"""The peers' image, built from our notebook image and loaded into the cluster."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from images.build import IMAGES, MADE_AT, ROOT
from tests.kube.conftest import REGISTRY
from tests.testbeds.kube.cluster import KubeCluster

HERE = Path(__file__).parent
NAME = "sampan/bench-peers:1"
PEERS = f"{REGISTRY}/{NAME}"
HUB = f"{REGISTRY}/{IMAGES['hub'].reference()}"
NOTEBOOK = f"{REGISTRY}/{IMAGES['notebook'].reference()}"

COMPARED = ("jupyterhub", "jupyterlab", "distributed", "jupyterhub-kubespawner", "dask-kubernetes")
LOCKS = (ROOT / "client" / "requirements.lock", HERE / "requirements.lock")


def versions(kube: KubeCluster) -> dict[str, str]:
    """What was compared with what."""
    server = kube.get("--raw=/version")["gitVersion"].lstrip("v")
    locked = dict(re.findall(r"^(\S+)==(\S+)", "\n".join(lock.read_text() for lock in LOCKS), re.MULTILINE))
    return {"Kubernetes": server, "sampan-hub": IMAGES["hub"].version, **{name: locked[name] for name in COMPARED}}


def load_all(kube: KubeCluster) -> None:
    """Ours as this clone makes them, and the peers'. What did not change is taken from earlier builds."""
    kube.build_images()
    for image in IMAGES.values():
        for name in image.references():
            kube.load_image(name, f"{REGISTRY}/{name}")
    _build(kube)
    kube.load_image(NAME, PEERS)


def _build(kube: KubeCluster) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        for part in (HERE / "requirements.lock", HERE / "dask-scheduler", HERE / "dask-worker"):
            shutil.copy(part, folder)
        shutil.copy(ROOT / "images" / "compile.py", folder)
        argv = ["buildah", "build", "--quiet", "--layers", "--timestamp", str(MADE_AT), "--tag", NAME]
        base = f"BASE_IMAGE=localhost/{IMAGES['notebook'].reference()}"
        kube.run([*argv, "--build-arg", base, "--file", str(HERE / "Containerfile"), folder], timeout_s=1800)
