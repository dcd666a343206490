"""`Cluster` with real hosts, schedulers and workers against a stand-in service."""

# ruff: noqa: PT031  the warnings come from a background loop: the block has to wait for them
from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from distributed.core import rpc

from sampan import Cluster, ClusterFailed, ClusterNotFound, Refused, WorkerWarning, parity, rundir
from sampan._api import read_session
from sampan.report import Money
from sampan.security import ensure_keys, make_security
from tests.unit.client_standin import StandIn


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    standin = StandIn(tmp_path)
    job_dir = tmp_path / "notebook"
    job_dir.mkdir(mode=0o700)
    (job_dir / "credential").write_text(f"notebook-{os.urandom(8).hex()}")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("SAMPAN_SERVICE", standin.url)
    monkeypatch.setenv("SAMPAN_JOB", "standin.notebook")
    monkeypatch.setenv("SAMPAN_JOB_DIR", str(job_dir))
    monkeypatch.setenv("SAMPAN_CREDENTIAL_FILE", str(job_dir / "credential"))
    session = read_session()
    assert session is not None
    folder = rundir.session_dir(session)
    yield standin
    for _, host in list(rundir.live_hosts(session)):
        os.kill(host["pid"], signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    standin.close()


def eventually(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)
    return found


def test_a_cluster_computes_and_ends(service: StandIn) -> None:
    with Cluster(2) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2, timeout=30)
        assert client.submit(sum, [1, 2, 3]).result(timeout=20) == 6
        pids = set(client.run(os.getpid).values())
        assert len(pids) == 2
        assert os.getpid() not in pids
        assert "2 of 2 workers" in cluster.why()
        assert len([r for r in service.requests if r[:2] == ("POST", "/jobs")]) == 1
    assert Cluster.list() == []
    eventually(lambda: not service.live())


def test_a_scale_is_one_request_and_going_down_repeats_no_task(service: StandIn, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    def work(number: int) -> int:
        with ran.open("a") as file:
            file.write(f"{number}\n")
        time.sleep(0.05)
        return number

    with Cluster(3, name="trial") as cluster, cluster.get_client() as client:
        client.wait_for_workers(3, timeout=30)
        futures = client.map(work, range(30))
        assert sum(client.gather(futures)) == sum(range(30))
        cluster.scale(1)
        eventually(lambda: len(cluster.scheduler_info["workers"]) == 1)
        assert sum(client.gather(futures)) == sum(range(30))
        late = client.map(work, range(100, 120))
        cluster.scale({"": 1, "large": 1})
        client.wait_for_workers(2, timeout=30)
        assert sorted(info["nthreads"] for info in client.scheduler_info()["workers"].values()) == [1, 2]
        assert sum(client.gather(late)) == sum(range(100, 120))
    assert len(ran.read_text().splitlines()) == 50
    submits = [body["items"] for method, path, body in service.requests if (method, path) == ("POST", "/jobs")]
    assert [len(items) for items in submits] == [3, 1]


def test_a_dead_worker_is_replaced_under_a_new_name(service: StandIn) -> None:
    with Cluster(2, name="trial") as cluster, cluster.get_client() as client:
        client.wait_for_workers(2, timeout=30)
        victim = next(job for job in service.live() if job["name"] == "trial-0")
        with pytest.warns(WorkerWarning, match="trial-0 ended"):
            service.processes[victim["id"]].kill()
            eventually(lambda: {job["name"] for job in service.live()} == {"trial-1", "trial-2"})
            eventually(lambda: cluster.observed == {"trial-1", "trial-2"})
            eventually(lambda: cluster._notes_seen)


def test_a_limit_caps_until_it_moves(service: StandIn) -> None:
    service.limit = 1
    with pytest.warns(WorkerWarning, match="user.jobs"):
        cluster = Cluster(3)
    with cluster:
        cluster.wait_for_workers(1, timeout=30)
        assert "Refused" in cluster.why()
        with pytest.raises(Refused) as refused:
            cluster.scale(3)
        assert (refused.value.limit, refused.value.maximum) == ("user.jobs", 1)
        service.limit = 3
        service.bump()
        cluster.wait_for_workers(3, timeout=30)


def test_nothing_at_all_is_a_refusal(service: StandIn) -> None:
    service.limit = 0
    with pytest.raises(Refused, match="an administrator can raise it") as refused:
        Cluster(2)
    assert refused.value.raised_by == "an administrator"
    assert Cluster.list() == []


def test_without_numbers_it_adapts_from_none_to_what_one_may_have(service: StandIn) -> None:
    service.free = 2
    with Cluster() as cluster, cluster.get_client() as client:
        assert service.live() == []
        futures = client.map(lambda n: time.sleep(0.2) or n, range(40))
        assert client.gather(futures)[-1] == 39
        assert max(len(items["items"]) for m, p, items in service.requests if (m, p) == ("POST", "/jobs")) <= 2
        assert "between 0 and 2" in cluster.why()
        del futures
        eventually(lambda: not service.live(), 30)


def test_an_adapting_cluster_replaces_whose_walltime_ends_and_no_more(service: StandIn, tmp_path: Path) -> None:
    service.walltime_s = 25
    ran = tmp_path / "ran"

    def work(number: int) -> int:
        with ran.open("a") as file:
            file.write(f"{number}\n")
        time.sleep(0.5)
        return number

    with Cluster(adapt=(2, 2), name="timed") as cluster, cluster.get_client() as client:
        client.wait_for_workers(2, timeout=30)
        futures = client.map(work, range(70))
        eventually(lambda: "is being replaced" in cluster.why())
        assert "others take over before that" in cluster.why()
        assert sum(client.gather(futures)) == sum(range(70))
        assert sorted(int(line) for line in ran.read_text().split()) == list(range(70))
        info = cluster.sync(cluster.scheduler_comm.sampan_info)
        assert info["wanted"] == {"": 2}
        assert not info["notes"], "nothing that its owner should hear of"
        eventually(lambda: len(service.live()) == 2)
    asked = [item["name"] for m, p, body in service.requests if (m, p) == ("POST", "/jobs") for item in body["items"]]
    assert 4 <= len(asked) <= 6, "each worker was replaced once"


def test_several_clusters_attached_see_the_same(service: StandIn) -> None:
    with Cluster(1, name="shared") as first:
        second, third = Cluster.attach("shared"), Cluster.attach()
        assert second.name == third.name == "shared"
        second.scale(2)
        for each in (first, second, third):
            eventually(lambda each=each: len(each.scheduler_info["workers"]) == 2)
        assert [each.name for each in Cluster.list()] == ["shared"]
        with pytest.raises(ClusterNotFound, match="shared"):
            Cluster.attach("other")
        for each in (second, third):
            each.status = type(each.status).closed


KERNEL = """
import sys, time
from sampan import Cluster
cluster = Cluster(1, name="kept")
client = cluster.get_client()
client.publish_dataset(numbers=client.submit(sum, range(101)))
late = client.submit(lambda: time.sleep(2) or "late", pure=False)
client.publish_dataset(late=late)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_kernel_leaves_the_cluster_to_the_next(service: StandIn) -> None:
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL], stdout=subprocess.PIPE, start_new_session=True)
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == b"ready\n"
    os.killpg(kernel.pid, signal.SIGKILL)
    kernel.wait()
    kernel.stdout.close()
    with Cluster.attach() as cluster, cluster.get_client() as client:
        assert cluster.name == "kept"
        assert client.get_dataset("numbers").result(timeout=20) == 5050
        assert client.get_dataset("late").result(timeout=20) == "late"


def test_idle_workers_rest_and_come_back_with_the_next_task(service: StandIn) -> None:
    with Cluster(1, idle_timeout="1s") as cluster, cluster.get_client() as client:
        client.wait_for_workers(1, timeout=30)
        eventually(lambda: not service.live())
        assert "rest" in cluster.why()
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3


def test_a_host_that_nobody_needs_ends(service: StandIn) -> None:
    leave = "from sampan import Cluster; Cluster(1, idle_timeout='1s')"
    subprocess.run([sys.executable, "-c", leave], check=True, timeout=60)
    assert len(service.jobs) == 1
    eventually(lambda: not service.live())
    eventually(lambda: Cluster.list() == [])


def test_the_asynchronous_form(service: StandIn) -> None:
    async def use() -> int:
        async with Cluster(1, asynchronous=True) as cluster, cluster.get_client() as client:
            return await client.submit(sum, [4, 5])

    assert asyncio.run(use()) == 9


def test_a_worker_of_another_environment_is_refused_with_the_difference(
    service: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = parity.versions()
    monkeypatch.setattr(parity, "versions", lambda: {**real, "cloudpickle": "0.1"})
    monkeypatch.setattr("sampan.cluster.check_parity", lambda host: None)
    with pytest.warns(WorkerWarning, match="cloudpickle: kernel 0.1"), Cluster(2) as cluster:
        with pytest.raises(ClusterFailed, match=r"cloudpickle: kernel 0\.1, worker \d"):
            cluster.wait_for_workers(2, timeout=30)
        eventually(lambda: cluster._notes_seen)
        assert not service.live()
        assert len(service.jobs) == 2


def test_a_worker_over_its_memory_says_so(service: StandIn) -> None:
    def hold(size_bytes: int) -> int:
        held = b"x" * size_bytes
        time.sleep(60)
        return len(held)

    with Cluster(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1, timeout=30)
        with pytest.warns(WorkerWarning, match="MiB of the 512 MiB"):
            future = client.submit(hold, 600 * 2**20)
            eventually(lambda: cluster._notes_seen)
        future.cancel()


def test_a_lost_host_takes_its_workers_along(service: StandIn) -> None:
    cluster = Cluster(1, name="doomed")
    cluster.wait_for_workers(1, timeout=30)
    session = read_session()
    assert session is not None
    with pytest.warns(WorkerWarning, match="its host is gone"):
        os.kill(next(rundir.live_hosts(session))[1]["pid"], signal.SIGKILL)
        eventually(lambda: not service.live())
        eventually(lambda: not cluster.periodic_callbacks["sampan-notes"].is_running())
    process = next(iter(service.processes.values()))
    assert process.wait() == 1
    cluster.close()


def test_the_dashboard_answers_on_its_private_socket_alone(service: StandIn) -> None:
    with Cluster(1, name="shown") as cluster:
        cluster.wait_for_workers(1, timeout=30)
        session = read_session()
        assert session is not None
        folder, host = next(rundir.live_hosts(session))
        path = folder / "dash.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert cluster.dashboard_link.endswith("sampan/shown/status")
        assert b"200 OK" in ask(path, "/status").splitlines()[0]
        assert b"individual" in ask(path, "/individual-plots.json")
        assert len(list_listeners(host["pid"])) == 1
        worker = next(iter(service.processes.values()))
        assert len(list_listeners(worker.pid)) == 1


def test_the_dashboard_speaks_by_websocket_through_its_socket(service: StandIn) -> None:
    async def greet(path: Path) -> str:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http:
            page = await (await http.get("http://localhost/status")).text()
            found = re.search(r'"token":"([^"]+)"', page)
            assert found is not None
            async with http.ws_connect("http://localhost/status/ws", protocols=("bokeh", found[1])) as pages:
                return str(await pages.receive_str(timeout=20))

    with Cluster(1, name="shown"):
        session = read_session()
        assert session is not None
        assert "ACK" in asyncio.run(greet(next(rundir.live_hosts(session))[0] / "dash.sock"))


def test_a_stranger_with_keys_of_his_own_gets_nowhere(service: StandIn, tmp_path: Path) -> None:
    forged = ensure_keys(rundir.ensure_private(tmp_path / "forged"))

    async def knock(address: str, **arguments: Any) -> None:
        async with rpc(address, timeout=5, **arguments) as stranger:
            await stranger.identity()

    with Cluster(1) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1, timeout=30)
        for address in (cluster.scheduler_address, *client.scheduler_info()["workers"]):
            arguments = make_security(forged).get_connection_args("client")
            with pytest.raises(OSError):
                asyncio.run(knock(address, connection_args=arguments))
            with pytest.raises(OSError):
                asyncio.run(knock(address.replace("tls://", "tcp://")))


def ask(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def list_listeners(pid: int) -> list[int]:
    return [c.laddr.port for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]


def test_quote_cost_and_logs(service: StandIn) -> None:
    with Cluster(1, name="paid") as cluster:
        cluster.wait_for_workers(1, timeout=30)
        assert "4 × large" in str(cluster.quote(4, "large"))
        assert cluster.quote(4).per_hour == Money(80_000, "EUR")
        assert cluster.cost is None
        service.live()[0]["cost_micros"] = 1_500_000
        assert str(cluster.cost) == "1.50 EUR"
        logs = cluster.logs()
        assert "sampan.host" in logs["host"] or logs["host"]
        assert "paid-0" in logs
        assert "Scheduler" in cluster.get_logs()
