"""Faults that need a whole Sampan, with hub, JupyterLab and Dask: the others are in test_faults.py."""

from __future__ import annotations

import signal
import time
from typing import Any

from tests.judge.processes import processes_with_key
from tests.slurm.installation.site import Site
from tests.support.installation import wait_until
from tests.support.person import Person

REPLACED_S = 15
COMPUTE = """
from sampan import Cluster
cluster = Cluster(2)
client = cluster.get_client()
client.wait_for_workers(2, timeout=120)
"""
HOSTS = """
workers = client.scheduler_info(n_workers=-1)["workers"].values()
print(*sorted(worker["host"] for worker in workers))
"""


def open_notebook(site: Site, owner: str) -> dict[str, Any] | None:
    jobs = [job for job in site.jobs(owner=owner, kind="notebook") if job["state"] != "ended"]
    return jobs[0] if jobs else None


def test_a_hub_killed_while_a_server_starts(site: Site, alice: Person) -> None:
    """The very job that was asked for before is what she gets, and there is no other."""
    status, body = alice.hub("POST", alice.place_of(""), {})
    assert status in (201, 202), body
    asked = wait_until(lambda: open_notebook(site, "alice"), 30, "the service was asked")
    site.restart("hub", signal.SIGKILL)
    wait_until(lambda: alice.ask("GET", "/user/alice/api/status")[0] == 200, 90, "her server answers")
    found = open_notebook(site, "alice")
    assert found is not None
    assert found["id"] == asked["id"]
    assert len(site.slurm_jobs()) == 1
    notebooks = [process for process in processes_with_key(site.instance()) if process.entry == "notebook"]
    assert len(notebooks) == 1
    status, body = alice.hub("DELETE", alice.place_of(""))
    assert status in (202, 204), body
    site.wait_for_job(asked["id"], "ended")


def test_workers_of_a_crashed_node_are_replaced(site: Site, alice: Person) -> None:
    """Within 15 s after Slurm says that they are lost; her jobs go to node1 and node2."""
    slurm = site.cluster
    notebook = alice.start()
    home = slurm.profile.addresses["node1"]
    try:
        slurm.drain("node1")  # the notebook is there, and its workers go to the other
        kernel = notebook.kernel()
        kernel.run(COMPUTE, 180)
        assert kernel.run(HOSTS).split() == [slurm.profile.addresses["node2"]] * 2
        slurm.resume("node1")
        slurm.crash("node2")
        slurm.declare_down("node2")
        said = time.monotonic()
        wait_until(lambda: kernel.run(HOSTS).split().count(home) == 2, 90, "both are replaced")
        took_s = time.monotonic() - said
        print(f"replaced {took_s:.1f} s after Slurm said so")
        kernel.run("cluster.close()", 60)
        assert took_s <= REPLACED_S
    finally:
        slurm.resume("node1")
        slurm.boot("node2")
        notebook.stop()
