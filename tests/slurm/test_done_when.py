"""Two people at work at once, seen from outside: JupyterHub's API, their kernels, Slurm's own commands."""

from __future__ import annotations

from tests.slurm.installation.person import Person
from tests.slurm.installation.site import Site

WHO = "import os, socket; print(os.getuid(), socket.gethostname(), os.getcwd())"
CLUSTER = """
import os, socket
from sampan import Cluster
cluster = Cluster(2)
client = cluster.get_client()
client.wait_for_workers(2, 120)
print(sorted({(socket.gethostname(), os.getuid()) for _ in range(1)}))
for node, uid in client.run(lambda: (__import__("socket").gethostname(), __import__("os").getuid())).values():
    print(node, uid)
print(sum(client.gather(client.map(lambda number: number ** 2, range(100)))))
cluster.close()
"""


def test_a_notebook_is_a_job_of_the_person_who_asked(site: Site, alice: Person) -> None:
    notebook = alice.start()
    print(notebook.run(WHO))
    print(notebook.run(CLUSTER, 180))
    notebook.stop()
