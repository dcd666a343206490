"""The images: what is in them, as whom they run, and that the same input makes the same digest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.build import IMAGES, ROOT
from tests.kube.conftest import Images
from tests.kube.pods import make_pod, run_to_end
from tests.kube.registry import running_registry
from tests.testbeds.kube.cluster import KubeCluster

UNCOMPILED = """
import sys, sysconfig
from importlib.util import cache_from_source
from pathlib import Path
missing = by_time = total = 0
for source in [*Path(sys.prefix).rglob("*.py"), *Path(sysconfig.get_path("stdlib")).rglob("*.py")]:
    try:
        compile(source.read_bytes(), str(source), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        continue
    compiled = Path(cache_from_source(str(source)))
    total += 1
    if not compiled.exists():
        missing += 1
    elif source.is_relative_to(sys.prefix) and compiled.read_bytes()[4:8] != bytes([1, 0, 0, 0]):
        by_time += 1
print(missing, by_time, total > 2000)
"""
HUB_PARTS = """
set -e
test "$(id -u)" = 1000
sampan --version
node --version
node /opt/sampan/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy --version
pg_dump --version
python -c 'from sampan_hub.cli.supervise.commands import BY_JOB, find_hub_config
from sampan_hub.cli.supervise.prepare import find_proxy
assert BY_JOB.exists() and find_hub_config().exists() and find_proxy()'
python -c 'import sampan_hub.service, sampan_hub.identity'
"""
NOTEBOOK_PARTS = """
set -e
test "$(id -u):$HOME:$(command -v python)" = 1000:/home/user:/opt/sampan/bin/python
python -c 'from importlib.metadata import version; print(version("sampan"))'
python -c 'import distributed, jupyterlab, sampan.notebook, sampan.worker'
git --version
less --version | head -1
! command -v curl
"""


@pytest.fixture(scope="module")
def namespace(kube: KubeCluster) -> Iterator[str]:
    with kube.namespace("images", {"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name


def run(kube: KubeCluster, namespace: str, name: str, image: str, *argv: str) -> str:
    return run_to_end(kube, namespace, make_pod(name, image, argv), timeout_s=240)


def test_hub_runs_restricted_on_a_read_only_root(kube: KubeCluster, images: Images, namespace: str) -> None:
    said = run(kube, namespace, "hub", images.hub, "sh", "-c", HUB_PARTS)
    assert IMAGES["hub"].version in said.splitlines()[0]


def test_notebook_runs_restricted_on_a_read_only_root(kube: KubeCluster, images: Images, namespace: str) -> None:
    said = run(kube, namespace, "notebook", images.notebook, "bash", "-c", NOTEBOOK_PARTS)
    assert said.splitlines()[0] == IMAGES["notebook"].version


@pytest.mark.parametrize("name", ["hub", "notebook"])
def test_all_python_is_compiled_and_stays_valid(kube: KubeCluster, images: Images, namespace: str, name: str) -> None:
    said = run(kube, namespace, f"{name}-pyc", getattr(images, name), "/opt/sampan/bin/python", "-c", UNCOMPILED)
    assert said.strip() == "0 0 True"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", IMAGES)
def test_the_same_input_makes_the_same_digest(kube: KubeCluster, images: Images, name: str) -> None:
    words = [sys.executable, str(ROOT / "images" / "build.py"), "build", "--base-image", kube.BASE_IMAGE]
    kube.run([*words, "--no-cache", "--tag", "anew", name], timeout_s=800)
    assert kube.image_id(f"sampan/{name}:anew") == kube.image_id(IMAGES[name].reference())


@pytest.mark.timeout(600)
def test_make_pushes_to_a_registry(kube: KubeCluster, images: Images, tmp_path: Path) -> None:
    with running_registry() as registry:
        trusted = tmp_path / "registries.conf"
        trusted.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
        words = ["make", "images", "push", f"REGISTRY={registry.address}/team", f"BASE_IMAGE={kube.BASE_IMAGE}"]
        kube.run(words, cwd=ROOT, env={"CONTAINERS_REGISTRIES_CONF": str(trusted)}, timeout_s=500)
    names = [name for image in IMAGES.values() for name in image.references()]
    assert set(registry.manifests) == {tuple(f"team/{name}".split(":")) for name in names}
    for manifest in registry.manifests.values():
        assert {part["digest"] for part in (manifest["config"], *manifest["layers"])} <= set(registry.blobs)
