"""Homes that one node at a time can hold, and one that is full: nobody is kept out, and everybody is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kube.chart_rig import Release, installed
from tests.kube.conftest import REGISTRY, Images
from tests.support.person import Notebook, Person
from tests.testbeds.kube.cluster import KubeCluster

pytestmark = pytest.mark.timeout(900)

SMALL = "small-disk"
SIZE = "16Mi"
LITTLE: dict[str, Any] = {
    "config": {
        "default_size": "tiny",
        "backends": {
            "kubernetes": {
                "scheduler": {"cores": 0.1, "memory": "500M"},
                "storage": {"home": {"class": SMALL, "size": "16M"}},
            }
        },
    }
}
FILL = """
dd if=/dev/zero of={place}/much bs=64k 2>/dev/null
chown 1000:1000 {place} {place}/much
df -B1 --output=avail {place}
"""
WORKERS = """
import warnings
from pathlib import Path
Path("here").write_text("on the home")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    from sampan import Cluster
    cluster = Cluster(1)
    client = cluster.get_client()

def look():
    import os
    Path("/scratch/mine").write_text("scratch")
    return Path("here").exists(), os.environ["HOME"], Path("/scratch/mine").read_text()

import json
print(json.dumps({"look": client.submit(look).result(120), "told": [str(each.message) for each in told]}))
cluster.close()
"""


@contextmanager
def full_disk(kube: KubeCluster, name: str) -> Iterator[Path]:
    """A disk of 16 MiB on the node, its owner's, with not a byte left."""
    place = kube.folder / "volumes" / name
    inside = kube.inside()
    kube.run([*inside, "mkdir", "-p", str(place)])
    kube.run([*inside, "mount", "-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs", str(place)])
    try:
        said = kube.run([*inside, "sh", "-c", FILL.format(place=place)]).stdout
        assert said.split()[-1] == "0", said
        yield place
    finally:
        kube.run([*inside, "umount", "--lazy", str(place)])
        kube.run([*inside, "rmdir", str(place)])


def volume(kube: KubeCluster, namespace: str, claim: str, place: Path) -> dict[str, Any]:
    """That disk as the volume of one claim to come."""
    where = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [kube.NODE]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{claim}"},
        "spec": {
            "capacity": {"storage": SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": SMALL,
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
            "local": {"path": str(place)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [where]}},
        },
    }


@pytest.fixture(scope="module")
def release(kube: KubeCluster, images: Images) -> Iterator[Release]:
    assert images.notebook.startswith(f"{REGISTRY}/")
    with installed(kube, REGISTRY, "storage", LITTLE) as made, full_disk(kube, made.namespace) as place:
        home = volume(kube, made.namespace, "home-alice", place)
        kube.apply(home)
        try:
            yield made
        finally:
            made.admin("POST", "/jobs/stop", {"ids": [job["id"] for job in made.jobs()]})
            for job in made.jobs():
                made.wait_for_job(job["id"], "ended")
            kube.kubectl("delete", "persistentvolume", home["metadata"]["name"], "--wait=false")


@pytest.fixture(scope="module")
def notebook(release: Release) -> Notebook:
    """Alice's; her home is full."""
    return Person(release, "alice").start(timeout_s=150, size="small")


def test_a_full_home_keeps_nobody_out_and_lab_frees_it(notebook: Notebook) -> None:
    alice = notebook.person
    free = "import os; disk = os.statvfs(os.path.expanduser('~')); print(disk.f_bavail * disk.f_frsize)"
    assert int(notebook.run(free)) == 0, "it is full, and a kernel runs"
    status, _ = alice.ask("DELETE", "/user/alice/api/contents/much")
    assert status == 204
    content = {"type": "file", "format": "text", "content": "there is room again"}
    assert alice.ask("PUT", "/user/alice/api/contents/note.txt", content)[0] == 201
    assert notebook.run("print(open('note.txt').read())").strip() == "there is room again"


def test_workers_get_scratch_and_everybody_is_told(release: Release, notebook: Notebook) -> None:
    """After the other test there is room on alice's home, which one node at a time can hold."""
    said = json.loads(notebook.run(WORKERS, 180).splitlines()[-1])
    sees_home, home, scratch = said["look"]
    assert (sees_home, scratch) == (False, "scratch")
    assert home == "/home/user"
    assert sum("home" in text for text in said["told"]) == 1, said
    assert "ReadWriteOnce" in release.sampan("check", "--wait", "60")
    assert "ReadWriteOnce" in release.helm("get", "notes", "sampan")
