"""Kill -9 over every process of ours while people work: nothing they have is lost, and the judge finds nothing.

`CHAOS_KILLS` and `CHAOS_SECONDS` set the length (make chaos: 60 kills in 300 s), `CHAOS_SEED` the order.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.judge.processes import processes_with_key
from tests.judge.verdict import judge
from tests.support.installation import Installation, wait_until
from tests.support.kernels import Kernel

KILLS = int(os.environ.get("CHAOS_KILLS", "12"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
TASKS = 1000
HEAL_S = 60

COUNT = """
import threading, time
counts = []
def count():
    while True:
        counts.append(time.monotonic())
        time.sleep(0.1)
threading.Thread(target=count, daemon=True).start()
"""

COMPUTE = f"""
import threading, time
from sampan import Cluster
cluster = Cluster(2, name={{name!r}})
client = cluster.get_client()
client.wait_for_workers(2, timeout=60)
def work(n):
    import time
    time.sleep({{seconds}})
    return n * n
futures = client.map(work, range({TASKS}), pure=False)
total = []
threading.Thread(target=lambda: total.append(sum(client.gather(futures))), daemon=True).start()
"""


def kill_one(installation: Installation, victim: str) -> None:
    """Kill -9 it; `up` is started again, as its owner would."""
    if victim == "up":
        assert installation.up is not None
        installation.up.kill()
        installation.up.wait()
        installation.start()
        return
    try:
        os.kill(installation.process(victim), signal.SIGKILL)
    except ProcessLookupError:
        return  # it was just being restarted


def kill_many(installation: Installation) -> Counter[str]:
    """KILLS victims in SECONDS, in the order the seed gives."""
    choose = random.Random(SEED)
    begun = time.monotonic()
    killed: Counter[str] = Counter()
    for number in range(KILLS):
        due = begun + number * SECONDS / KILLS
        time.sleep(max(0.0, due - time.monotonic()))
        victim = choose.choice(["proxy", "hub", "service", "up"])
        kill_one(installation, victim)
        killed[victim] += 1
    return killed


def verdict(installation: Installation, token: str) -> tuple[int, int, int]:
    """Orphans, duplicates and false deaths now, once every answer is to be had."""
    running = processes_with_key(installation.instance)
    views = {}
    for key in {process.job_id for process in running}:
        status, view = installation.call("GET", f"/services/sampan/api/v1/jobs/{key}", token)
        if status == 200:
            views[key] = view
    asked = frozenset(key for key, view in views.items() if view["wanted"] == "run")
    return judge(running, {key: view["state"] for key, view in views.items()}, asked).counts


def answers(installation: Installation, path: str, token: str) -> bool:
    try:
        return installation.call("GET", path, token)[0] == 200
    except OSError:
        return False


@pytest.mark.timeout(900)
async def test_nothing_is_lost_under_kill_9(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site")
    try:
        installation.start()
        name = installation.run("user", "list").stdout.split()[0]
        token = installation.token(name)
        await run_chaos(installation, name, token)
    finally:
        installation.stop()


async def run_chaos(installation: Installation, name: str, token: str) -> None:
    status, body = installation.call("POST", f"/hub/api/users/{name}/server", token, {})
    assert status in (201, 202), body
    server = f"/user/{name}/api/status"
    await asyncio.to_thread(wait_until, lambda: answers(installation, server, token), 60, "the server answers")
    base = f"{installation.url}/user/{name}"
    async with aiohttp.ClientSession() as session:
        kernels = [await Kernel.start(session, base, token) for _ in range(5)]
        for kernel in kernels:
            (await kernel.execute(COUNT)).checked()
        for number, kernel in enumerate(kernels[:2]):
            code = COMPUTE.format(name=f"chaos-{number}", seconds=1.5 * SECONDS / TASKS)
            (await kernel.execute(code, timeout_s=90)).checked()

        begun = time.monotonic()
        killed = await asyncio.to_thread(kill_many, installation)
        elapsed_s = time.monotonic() - begun
        print(f"seed {SEED}: {dict(killed)} in {elapsed_s:.0f} s")

        for path in ("/hub/api/", "/services/sampan/readyz", server):
            await asyncio.to_thread(wait_until, partial(answers, installation, path, token), HEAL_S, f"{path} answers")
        listed = installation.call("GET", f"/user/{name}/api/kernels", token)[1]
        assert {kernel.id for kernel in kernels} <= {kernel["id"] for kernel in listed}
        for kernel in kernels:
            gap = "print(max(b - a for a, b in zip(counts, counts[1:])), len(counts))"
            longest, number = (await kernel.execute(gap)).checked().text.split()
            assert float(longest) < 30, f"a count stood still for {longest} s"
            assert int(number) > 2 * elapsed_s
        expected = sum(n * n for n in range(TASKS))
        for kernel in kernels[:2]:
            code = "import time\nwhile not total: time.sleep(0.1)\nprint(total[0])"
            assert int((await kernel.execute(code, timeout_s=SECONDS * 2 + 60)).checked().text) == expected
        await asyncio.to_thread(
            wait_until, lambda: verdict(installation, token) == (0, 0, 0), HEAL_S, "the judge is content"
        )
        entries = Counter(p.entry for p in processes_with_key(installation.instance) if p.entry)
        assert entries == {"notebook": 1, "worker": 4}
