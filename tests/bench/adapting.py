"""Workers come and go with the tasks, 0 to 8: makespan over the ideal of eight workers there from the first moment."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.peers import PeerPython
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.sites import CAN_FORK, installation, notebook_python

MEASURE = "adapt 0→8: makespan ÷ ideal"
PEER = "LocalCluster.adapt"
WORKERS = 8
CELL = """
import json, time
from distributed import Client, LocalCluster
{make}
def {task}(number):
    import time
    time.sleep({seconds})
    return number
spent = 0.0
for burst in range({bursts}):
    if burst:
        time.sleep({pause_s})
    begun = time.perf_counter()
    assert len(client.gather(client.map({task}, range({tasks}), pure=False))) == {tasks}
    spent += time.perf_counter() - begun
client.close()
cluster.close()
print("ANSWER", json.dumps(spent / ({bursts} * {tasks} * {seconds} / {workers})))
"""
OURS = "from sampan import Cluster\ncluster = Cluster(adapt=(0, 8), size='worker')\nclient = cluster.get_client()"
THEIRS = (
    "cluster = LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=':0')\n"
    "cluster.adapt(minimum=0, maximum=8)\nclient = Client(cluster)"
)
SHAPES = {
    "even": ({"tasks": 200, "seconds": 0.5, "bursts": 1, "pause_s": 0, "task": "even"}, 1.2),
    "bursts": ({"tasks": 64, "seconds": 0.25, "bursts": 3, "pause_s": 2, "task": "burst_task"}, 1.3),
    "long": ({"tasks": 16, "seconds": 3, "bursts": 1, "pause_s": 0, "task": "long_task"}, 1.5),
}
WORDS = {"even": "200 × 0.5 s", "bursts": "bursts", "long": "long unknown tasks"}


async def measure(folder: Path, repeat: int) -> Row:
    """Ours and the peer's by turns, each cluster made anew."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        site = stack.enter_context(installation(folder / "site", forked=CAN_FORK))
        ours = await stack.enter_async_context(notebook_python(site))
        peer = await PeerPython.start(folder)
        stack.push_async_callback(peer.stop)
        for _ in range(repeat):
            for shape, (values, _limit) in SHAPES.items():
                for side, python, make in (("sampan", ours, OURS), (PEER, peer, THEIRS)):
                    answer = await python.ask(CELL.format(make=make, workers=WORKERS, **values))
                    recorder.add(f"{side}: {shape}", float(answer))
    return Row(
        "adapting",
        [
            Line(f"{MEASURE}, {WORDS[shape]}", "×", recorder.sample(f"sampan: {shape}"),
                 recorder.sample(f"{PEER}: {shape}"), Aim(limit))
            for shape, (_values, limit) in SHAPES.items()
        ],
        note="Making the cluster is not counted on either side.",
    )  # fmt: skip
