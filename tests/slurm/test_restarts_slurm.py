"""Hub, proxy and service end again and again, gently and not, under kernels that count: nobody notices."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.slurm.at_work import AtWork
from tests.slurm.installation.site import NAMES, Site
from tests.support.person import RemoteKernel

KERNELS = 5
COUNT = """
import json, os, threading, time
counted, longest_s = 0, 0.0

def count():
    global counted, longest_s
    last = time.monotonic()
    while True:
        time.sleep(0.05)
        now = time.monotonic()
        counted, longest_s, last = counted + 1, max(longest_s, now - last), now

counting = threading.Thread(target=count, daemon=True)
counting.start()
"""
SAY = "print(json.dumps([os.getpid(), counted, longest_s, counting.is_alive()]))"
STANDSTILL_S = 5.0
"""Everything shares the processors of one computer, and three programs start meanwhile."""


def say(kernel: RemoteKernel) -> list[Any]:
    return list(json.loads(kernel.run(SAY)))


def known(site: Site, working: AtWork) -> dict[str, Any]:
    """Jobs and where they run, as the service, JupyterHub and Slurm say."""
    jobs = {job["id"]: (job["state"], job["address"]) for job in site.jobs(state="running")}
    people = (working.alice.person, working.bob.person)
    servers = {person.name: person.hub("GET", f"/users/{person.name}")[1]["servers"][""] for person in people}
    return {
        "jobs": jobs,
        "servers": {name: (server["ready"], server["started"]) for name, server in servers.items()},
        "slurm": sorted(site.cluster.ask("squeue", "-a", "-r", "-h", "-t", "R", "-o", "%i %j %N").splitlines()),
    }


def test_counting_goes_on(site: Site, working: AtWork) -> None:
    kernels = [worker.notebook.kernel() for worker in (working.alice, working.bob) * KERNELS][:KERNELS]
    for kernel in kernels:
        kernel.run(COUNT)
    before, said = known(site, working), [say(kernel) for kernel in kernels]
    assert len(before["jobs"]) == 6
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        for name in NAMES:
            site.restart(name, number)
            after = [say(kernel) for kernel in kernels]
            assert [each[0] for each in after] == [each[0] for each in said], name
            assert all(new[1] > old[1] and new[3] for old, new in zip(said, after, strict=True)), name
            said = after
    assert known(site, working) == before
    assert max(each[2] for each in said) < STANDSTILL_S, said
    assert working.alice.kernel.run("print(client.submit(sum, [1, 2]).result(30))").strip() == "3"
