"""Alice and bob, both at work: a notebook and a cluster each, started while somebody listened on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.slurm.installation.site import Site
from tests.support.person import Notebook, Person, RemoteKernel
from tests.testbeds.slurm.capture import Capture
from tests.testbeds.slurm.machine import Machine
from tests.testbeds.slurm.profile import JOB_PORTS

RESULT = "result-of-alice-51c7e0d2"
"""Comes from a worker to the scheduler, to the kernel, and through the proxy to the browser."""
WIRE = "canary-of-the-wire-9b1f"
"""Sent in the clear while the capture runs: what shows that the capture finds things."""
BEGIN = """
import json, os, socket
from sampan import Cluster
cluster = Cluster(2, name="work")
client = cluster.get_client()
client.wait_for_workers(2, 90)

def where():
    import os, socket
    return socket.gethostname(), os.getuid()

def planted():
    return "-".join(["result", "of", "alice", "51c7e0d2"])

result = client.submit(planted).result(30)
client.publish_dataset(kept=client.submit(planted, key="kept"))
print(json.dumps({
    "here": where(), "workers": list(client.run(where).values()), "result": result,
    "sum": sum(client.gather(client.map(lambda number: number**2, range(100)))), "cluster": cluster.name,
}))
"""
SECRETS = """
import json, os, pathlib
os.environ["MINE"] = "mine-5e0c77a1b2"
kept = {"hub token": os.environ["JUPYTERHUB_API_TOKEN"], "secret of hers": os.environ["MINE"]}
kept["credential"] = pathlib.Path(os.environ["SAMPAN_CREDENTIAL_FILE"]).read_text().strip()
folder = pathlib.Path(os.environ["SAMPAN_JOB_DIR"])
kept["bootstrap"] = json.loads((folder / "bootstrap.json").read_text())["credential"]
for file in folder.rglob("*"):
    text = file.read_text(errors="replace") if file.is_file() else ""
    if "PRIVATE KEY-----" in text:
        kept[f"key {file.name}"] = text.split("-----")[2].split()[1]
print(json.dumps(kept))
"""
SEND = """
import socket, sys
with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as server:
    print("ready", flush=True)
    with server.accept()[0] as asked:
        asked.sendall(sys.argv[2].encode())
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """Somebody with a notebook, a kernel in it and a cluster that the kernel made."""

    notebook: Notebook
    kernel: RemoteKernel
    said: Mapping[str, Any]

    @property
    def person(self) -> Person:
        return self.notebook.person

    def jobs(self) -> list[dict[str, Any]]:
        """Notebook and workers, as long as they run."""
        jobs = self.notebook.site.jobs(owner=self.person.name, state="running")
        return [job for job in jobs if self.notebook.job["id"] in (job["id"], job["parent"])]


@dataclass(frozen=True, slots=True)
class AtWork:
    alice: Worker
    bob: Worker
    capture: Capture
    secrets: Mapping[str, str]
    """Of alice and of the installation, by what they are."""


def begin(person: Person, project: str) -> Worker:
    notebook = person.start(project=project)
    kernel = notebook.kernel()
    return Worker(notebook, kernel, json.loads(kernel.run(BEGIN, 150)))


@contextmanager
def at_work(site: Site, alice: Person, bob: Person, folder: Path) -> Iterator[AtWork]:
    """Both at once; the capture ends when both have their results."""
    cluster = site.cluster
    with cluster.capture(folder / "wire.pcap") as capture:
        send_in_the_clear(cluster.nodes["node1"], cluster.nodes["node2"])
        with ThreadPoolExecutor() as pool:
            beginnings = [pool.submit(begin, alice, "lab-a"), pool.submit(begin, bob, "lab-b")]
            workers = [each.result() for each in beginnings]
        secrets = {**json.loads(workers[0].kernel.run(SECRETS)), **secrets_of(site), "token of hers": alice.token}
        secrets["link of hers"] = alice.link.partition("token=")[2]
    yield AtWork(workers[0], workers[1], capture, secrets)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda worker: worker.notebook.stop(), workers))


def secrets_of(site: Site) -> dict[str, str]:
    """The installation's own: keys and tokens, and a line of every private key of TLS."""
    state = site.state
    kept = {path.name: path.read_text().strip() for path in (state / "keys").iterdir() if path.is_file()}
    for path in (state / "tls").glob("*.key"):
        kept[f"tls/{path.name}"] = path.read_text().split("-----")[2].split()[1]
    return kept


def send_in_the_clear(source: Machine, target: Machine) -> None:
    port = str(JOB_PORTS[1])
    with source.popen(["/usr/bin/python3", "-c", SEND, port, WIRE], stdout=-1) as sending:
        assert sending.stdout is not None
        assert sending.stdout.readline() == "ready\n"
        receive = f"import socket; print(socket.create_connection(('{source.name}', {port}), 5).recv(100).decode())"
        assert target.run(["/usr/bin/python3", "-c", receive], check=True).stdout.strip() == WIRE
