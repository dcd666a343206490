"""A second real environment as a kernel: workers follow it; workers forced to another are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import wait_until
from tests.system.cluster_site import USER, ClusterSite

pytestmark = pytest.mark.timeout(300)

CLIENT = Path(__file__).parents[2] / "client"
SAME = ("dask", "distributed", "msgpack", "tornado", "toolz", "ipykernel")
OTHER_CLOUDPICKLE = "3.1.1"


def make_environment(folder: Path) -> Path:
    """As the user environment, with another cloudpickle; its interpreter."""
    ask = "import importlib.metadata as m, json, sys; print(json.dumps([f'{n}=={m.version(n)}' for n in sys.argv[1:]]))"
    pins = json.loads(subprocess.check_output([USER / "bin" / "python", "-c", ask, *SAME], text=True))
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    packages = [*pins, f"cloudpickle=={OTHER_CLOUDPICKLE}", "-e", CLIENT]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return python


@pytest.fixture
def other(tmp_path: Path) -> Path:
    python = make_environment(tmp_path / "other")
    spec = tmp_path / "jupyter" / "kernels" / "other"
    spec.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "other", "language": "python"}))
    return python


@pytest.fixture
def site(tmp_path: Path, other: Path) -> Iterator[ClusterSite]:
    made = ClusterSite(tmp_path)
    with made.hub:
        try:
            made.start()
            made.open_notebook({"JUPYTER_PATH": str(tmp_path / "jupyter")})
            yield made
        finally:
            made.stop()


FOLLOW = """
import sys
from importlib.metadata import version
from sampan import Cluster
cluster = Cluster(1)
client = cluster.get_client()
client.wait_for_workers(1, timeout=60)
print(*client.run(lambda: sys.executable).values(), client.submit(lambda: version("cloudpickle")).result(timeout=30))
client.close(); cluster.close()
"""
FORCE = """
from sampan import Cluster
forced = Cluster(2, env={env!r})
try:
    forced.wait_for_workers(2, timeout=60)
finally:
    forced.close()
"""


async def test_workers_follow_the_kernel_and_a_forced_difference_is_refused(site: ClusterSite, other: Path) -> None:
    async with site.kernel("other") as kernel:
        assert (await kernel.execute(FOLLOW, 90)).checked().text.split() == [str(other), OTHER_CLOUDPICKLE]
        for env in (str(USER), "default"):
            wait_until(lambda: not site.workers(), 120, "workers of the cluster before have ended")
            before = len(site.workers("ended"))
            forced = await kernel.execute(FORCE.format(env=env), 90)
            assert f"cloudpickle: kernel {OTHER_CLOUDPICKLE}, worker 3." in forced.error
            wait_until(lambda before=before: len(site.workers("ended")) == before + 2, 120, "both ended, no third came")
            refused = [
                job for job in site.workers("ended") if (job["reason"] or {}).get("code") == "environment-differs"
            ]
            assert refused
            assert all(job["exit"]["code"] == 78 for job in refused)
