"""A person on a login node, without any service: `Cluster(2)` is dask-jobqueue's, with our defaults."""

from __future__ import annotations

import json

from tests.slurm.installation.build import ENVIRONMENT
from tests.slurm.installation.site import Site
from tests.support.installation import wait_until
from tests.testbeds.slurm.profile import JOB_PORTS

PORTS = f"{JOB_PORTS[0]}:{JOB_PORTS[1]}"
CONFIG = f"""
jobqueue:
  slurm:
    memory: 400MiB
    walltime: "00:10:00"
    scheduler-options: {{port: {JOB_PORTS[0] + 77}}}
    worker-extra-args: ["--worker-port", "{PORTS}"]
"""
"""What a person or a site says to Dask where only some ports are open between the machines."""
CODE = """
import json, os, socket
from dask_jobqueue import SLURMCluster
from sampan import Cluster

def where():
    return socket.gethostname(), os.getuid(), os.environ["SLURM_JOB_USER"]

if __name__ == "__main__":
    with Cluster(2) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2, 90)
        total = sum(client.gather(client.map(lambda number: number**2, range(100))))
        print(json.dumps({
            "kind": isinstance(cluster, SLURMCluster), "workers": list(client.run(where).values()), "total": total,
            "addresses": [cluster.scheduler_address, *client.scheduler_info()["workers"]], "why": cluster.why(),
        }))
"""


def test_a_cluster_of_ones_own_jobs(site: Site) -> None:
    home, login = site.cluster.home("alice"), site.cluster.nodes["node4"]
    (home / ".config/dask").mkdir(parents=True, exist_ok=True)
    (home / ".config/dask/jobqueue.yaml").write_text(CONFIG)
    (home / "direct.py").write_text(CODE)
    before = set(own_jobs(site))
    try:
        argv = [str(ENVIRONMENT / "bin/python"), "direct.py"]
        done = login.run(argv, user="alice", timeout_s=180)
        assert done.returncode == 0, done.stderr
    finally:
        (home / ".config/dask/jobqueue.yaml").unlink()
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["kind"] is True
    assert said["total"] == sum(number**2 for number in range(100))
    assert [worker[1:] for worker in said["workers"]] == [[4001, "alice"]] * 2
    assert all(address.startswith("tls://10.88.0.") for address in said["addresses"]), said
    assert said["why"].startswith("2 of 2 workers")
    wait_until(lambda: set(own_jobs(site)) <= before, 30, "no job of it is left")
    left = login.run(["ps", "-o", "args=", "-u", "alice"]).stdout
    assert "direct.py" not in left
    assert "distributed" not in left
    try:
        wait_until(lambda: not scratch(site), 10, "no scratch is left")
    except TimeoutError:
        raise AssertionError(scratch(site)) from None
    keys = [path for path in (home / ".sampan-tls").rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys), keys


def scratch(site: Site) -> list[str]:
    """What Dask's workers of hers have in the temporary folders of the nodes."""
    names = ("(", "-name", "dask*", "-o", "-name", "sampan-direct*", ")")
    find = ("find", "/tmp", "-maxdepth", "1", "-user", "alice", *names, "-ls")
    found = {name: node.run(find, check=True).stdout for name, node in site.cluster.nodes.items()}
    return [f"{name}: {text}" for name, text in found.items() if text]


def own_jobs(site: Site) -> list[str]:
    return site.cluster.ask("squeue", "-a", "-h", "-r", "-o", "%i", "--user=alice").split()
