"""Results of 32 MB to the notebook over TLS: directly from the workers, or through the scheduler as by default."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.peers import PeerPython
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.sites import CAN_FORK, installation, notebook_python

MEASURE = "gather 32 MB blocks over TLS"
PEER = "distributed, through the scheduler"
BLOCKS, BLOCK_MB = 8, 32
MAKE = """
import json, os, time
{make}
client.wait_for_workers(2, timeout=60)
futures = client.map(lambda number: os.urandom({size}), range({blocks}), pure=False)
from distributed import wait
wait(futures)
"""
GATHER = """
begun = time.perf_counter()
blocks = client.gather(futures)
spent = time.perf_counter() - begun
assert sum(map(len, blocks)) == {total}
del blocks
print("ANSWER", json.dumps({megabytes} / spent))
"""
OURS = "from sampan import Cluster\ncluster = Cluster(2, size='worker')\nclient = cluster.get_client()"
THEIRS = (
    "from distributed import Client, LocalCluster\nfrom distributed.security import Security\n"
    "cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=':0', protocol='tls',\n"
    "                       security=Security.temporary())\nclient = Client(cluster)"
)


async def measure(folder: Path, repeat: int) -> Row:
    """Two clusters side by side, read by turns; one reading of each before the first that counts."""
    size = BLOCK_MB * 10**6
    gather = GATHER.format(total=BLOCKS * size, megabytes=BLOCKS * BLOCK_MB)
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        site = stack.enter_context(installation(folder / "site", forked=CAN_FORK))
        ours = await stack.enter_async_context(notebook_python(site))
        peer = await PeerPython.start(folder)
        stack.push_async_callback(peer.stop)
        await ours.ask(MAKE.format(make=OURS, size=size, blocks=BLOCKS))
        await peer.ask(MAKE.format(make=THEIRS, size=size, blocks=BLOCKS))
        for number in range(repeat + 1):
            for side, python in (("sampan", ours), (PEER, peer)):
                megabytes_per_s = float(await python.ask(gather))
                if number:
                    recorder.add(side, megabytes_per_s)
        await ours.ask("client.close(); cluster.close()")
        await peer.ask("client.close(); cluster.close()")
    aim = Aim(2, times_peer=True, at_least=True)
    return Row("gathering", [Line(MEASURE, "MB/s", recorder.sample("sampan"), recorder.sample(PEER), aim)])
