"""The testbed keeps its promises: without these, no other test here proves anything."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.installation import wait_until
from tests.testbeds.slurm.capture import read_streams
from tests.testbeds.slurm.cluster import Cluster, running_cluster
from tests.testbeds.slurm.computer import TestbedBusy, has_cgroups_v1, machines_alive
from tests.testbeds.slurm.machine import Machine
from tests.testbeds.slurm.process import Command
from tests.testbeds.slurm.profile import JOB_PORTS, PUBLIC_PORTS

PYTHON = "/usr/bin/python3.11"
CLONE = Path(__file__).parents[2]
SERVE = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    while True:
        with server.accept()[0] as asked:
            asked.sendall(asked.recv(1000))
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as server:
    server.sendall(sys.argv[3].encode())
    print(server.recv(1000).decode())
"""


@contextmanager
def echo(machine: Machine, port: int) -> Iterator[Command]:
    """A server on a machine that sends back what it gets."""
    with machine.popen([PYTHON, "-c", SERVE, machine.address, str(port)]) as server:
        try:
            wait_until(lambda: any(f":{port} " in line for line in machine.listeners()), 10, f"port {port}")
            yield server
        finally:
            server.kill()


def ask(machine: Machine, target: Machine, port: int, text: str = "hello") -> subprocess.CompletedProcess[str]:
    return machine.run([PYTHON, "-c", ASK, target.name, str(port), text], user="alice")


def test_machines_share_home_and_shared_and_nothing_else(slurm: Cluster) -> None:
    node1, node2 = slurm.nodes["node1"], slurm.nodes["node2"]
    for place in ("/home/alice", "/tmp", "/run", "/dev/shm", "/var/tmp"):
        node1.run(["touch", f"{place}/seen"], user="root" if place == "/run" else "alice", check=True)
    (slurm.shared / "seen").touch()
    seen = [
        place
        for place in ("/home/alice", "/shared", "/tmp", "/run", "/dev/shm", "/var/tmp")
        if node2.run(["test", "-e", f"{place}/seen"]).returncode == 0
    ]
    assert seen == ["/home/alice", "/shared"]
    assert node1.run(["hostname"]).stdout == "node1\n"
    assert not Path("/tmp/seen").exists()
    for place in ("/home/alice", "/shared", "/tmp", "/run", "/dev/shm", "/var/tmp"):
        node1.run(["rm", f"{place}/seen"], check=True)


@pytest.mark.parametrize("name", ["node1", "hubhost", "ctl"])
def test_clone_and_roots_home_are_not_on_the_machines(slurm: Cluster, name: str) -> None:
    machine = slurm.machines[name]
    assert machine.run(["test", "-e", str(CLONE)]).returncode == 1
    assert machine.run(["ls", "-A", "/root"], check=True).stdout in ("", "accounts.cfg\n")
    assert machine.run(["ls", "/root"], user="alice").returncode != 0
    assert machine.run(["touch", "/usr/mine"]).returncode != 0


def test_people_exist_on_the_machines_only(slurm: Cluster) -> None:
    assert slurm.hub.run(["id", "-un"], user="sampan", check=True).stdout == "sampan\n"
    assert slurm.nodes["node1"].run(["pwd"], user="bob", check=True).stdout == "/home/bob\n"
    assert slurm.nodes["node1"].run(["ls", "/home/alice"], user="bob").returncode != 0
    assert "alice" not in Path("/etc/passwd").read_text()


def test_node_is_reached_on_the_ports_of_jobs_only(slurm: Cluster) -> None:
    node1, node2 = slurm.nodes["node1"], slurm.nodes["node2"]
    inside, outside = JOB_PORTS[0], JOB_PORTS[1] + 1
    with echo(node2, inside), echo(node2, outside):
        assert ask(node1, node2, inside).stdout == "hello\n"
        assert ask(node2, node2, outside).stdout == "hello\n"  # it does listen
        assert "Connection refused" in ask(node1, node2, outside).stderr


def test_hub_host_is_reached_on_its_public_ports_only(slurm: Cluster) -> None:
    node1, public = slurm.nodes["node1"], PUBLIC_PORTS[-1]
    with echo(slurm.hub, public), echo(slurm.hub, 8081):
        assert ask(node1, slurm.hub, public).stdout == "hello\n"
        assert "Connection refused" in ask(node1, slurm.hub, 8081).stderr
        here = subprocess.run(
            [PYTHON, "-c", ASK, slurm.hub.address, str(public), "hi"], capture_output=True, text=True, timeout=10
        )
        assert here.stdout == "hi\n"


def test_machines_do_not_reach_the_computer(slurm: Cluster) -> None:
    desk = slurm.profile.addresses["desk"]
    with subprocess.Popen([PYTHON, "-c", SERVE, desk, "31500"]) as server:
        try:
            wait_until(lambda: f"{desk}:31500" in listeners_here(), 10, "port 31500")
            done = slurm.hub.run([PYTHON, "-c", ASK, desk, "31500", "hi"])
            assert "Connection refused" in done.stderr
        finally:
            server.kill()


def listeners_here() -> str:
    return subprocess.run(["ss", "-Hlnt"], capture_output=True, text=True, check=True).stdout


def test_job_runs_as_its_owner_and_accounting_knows(slurm: Cluster) -> None:
    number = slurm.submit("alice", "#!/bin/sh\nid -un\nhostname\n", "--nodelist=node3", "--job-name=hello")
    slurm.wait_for_job(number, "COMPLETED")
    assert (slurm.home("alice") / f"slurm-{number}.out").read_text() == "alice\nnode3\n"
    fields = ["sacct", "--parsable2", "-n", "-X", "-j", str(number), "-o", "JobName,User,Account,State,NodeList"]
    ended = "hello|alice|lab-a|COMPLETED|node3\n"
    wait_until(lambda: slurm.hub.run(fields, user="sampan").stdout == ended, 20, "accounting")


def test_accounts_limit_who_pays(slurm: Cluster) -> None:
    refused = slurm.hub.run(["sbatch", "--account=lab-a", "--wrap=true"], user="bob")
    assert "Invalid account" in refused.stderr


def test_gpus_are_on_two_nodes(slurm: Cluster) -> None:
    number = slurm.submit("bob", "#!/bin/sh\necho $CUDA_VISIBLE_DEVICES\n", "--gres=gpu:2", "--partition=gpu")
    slurm.wait_for_job(number, "COMPLETED")
    assert (slurm.home("bob") / f"slurm-{number}.out").read_text() == "0,1\n"


def test_too_much_memory_is_an_out_of_memory_end(slurm: Cluster) -> None:
    hungry = f"#!{PYTHON}\nimport time\nx = b'x' * 300_000_000\ntime.sleep(30)\n"
    number = slurm.submit("alice", hungry, "--mem=50")
    slurm.wait_for_job(number, "OUT_OF_MEMORY" if has_cgroups_v1() else "FAILED")


def test_crashed_node_is_noticed_and_comes_back(slurm: Cluster, no_jobs: None) -> None:
    number = slurm.submit("alice", "#!/bin/sh\nsleep 600\n", "--nodelist=node4", "--no-requeue")
    slurm.wait_for_job(number, "RUNNING")
    slurm.crash("node4")
    with pytest.raises(RuntimeError, match="off"):
        slurm.nodes["node4"].run(["true"])
    slurm.wait_until_down("node4")
    slurm.wait_for_job(number, "NODE_FAIL")
    slurm.boot("node4")
    assert slurm.node_states()["node4"] == "idle"


def test_daemons_stop_and_start(slurm: Cluster) -> None:
    slurm.slurmctld.kill()
    assert slurm.hub.run(["squeue"], timeout_s=90).returncode != 0
    slurm.start_slurmctld()
    assert slurm.hub.run(["squeue"]).returncode == 0
    slurm.slurmd["node1"].kill()
    assert slurm.slurmd["node1"].pid() == 0
    assert slurm.accounting is not None
    slurm.accounting.slurmdbd.stop()
    assert slurm.hub.run(["sacct"], timeout_s=90).returncode != 0
    slurm.restore()
    assert slurm.slurmd["node1"].pid() != 0
    assert slurm.hub.run(["sacct"]).returncode == 0


def test_jobs_hidden_from_others(slurm: Cluster, no_jobs: None) -> None:
    number = slurm.submit("alice", "#!/bin/sh\nsleep 600\n")
    slurm.wait_for_job(number, "RUNNING")

    def seen(*options: str) -> bool:
        return str(number) in slurm.hub.run(["squeue", "-h", "-o", "%i", *options], user="sampan", check=True).stdout

    assert seen()
    with slurm.changed({"PrivateData": "jobs"}):
        wait_until(lambda: not seen("-a"), 20, "private jobs")
    wait_until(seen, 20, "public jobs")
    slurm.hide_partition("compute")
    wait_until(lambda: not seen() and seen("-a"), 20, "hidden partition")
    slurm.show_partitions()
    wait_until(seen, 20, "visible partition")


def test_accounting_of_others_can_be_private(slurm: Cluster) -> None:
    number = slurm.submit("alice", "#!/bin/sh\n")
    asking = ["sacct", "-n", "-X", "-a", "-j", str(number), "-o", "JobID"]

    def seen() -> bool:
        return str(number) in slurm.hub.run(asking, user="sampan", check=True).stdout

    wait_until(seen, 20, "accounting")
    assert slurm.accounting is not None
    slurm.accounting.set_private("jobs")
    assert not seen()
    slurm.accounting.restore()
    assert seen()


def test_sudo_works_on_the_hub_host_and_only_there(slurm: Cluster) -> None:
    rule = slurm.hub.root / "etc/sudoers.d/testbed"
    asking = ["sudo", "-n", "/usr/bin/id", "-un"]
    assert slurm.hub.run(asking, user="sampan").returncode != 0
    rule.write_text("sampan ALL=(root) NOPASSWD: /usr/bin/id\n")
    rule.chmod(0o440)
    try:
        assert slurm.hub.run(asking, user="sampan", check=True).stdout == "root\n"
        assert slurm.nodes["node1"].run(asking, user="sampan").returncode != 0
        assert not Path("/etc/sudoers.d/testbed").exists()
    finally:
        rule.unlink()


def test_capture_finds_what_was_sent_in_the_clear(slurm: Cluster, tmp_path: Path) -> None:
    node1, node2 = slurm.nodes["node1"], slurm.nodes["node2"]
    with echo(node2, JOB_PORTS[0]), slurm.capture(tmp_path / "wire.pcap") as capture:
        ask(node1, node2, JOB_PORTS[0], "canary-of-the-wire")
    ends = capture.find(b"canary-of-the-wire")
    assert {(source, target) for source, _, target, _ in ends} == {
        (node1.address, node2.address),
        (node2.address, node1.address),
    }
    assert not capture.find(b"canary-of-another-wire")


def test_streams_of_a_capture_are_put_in_order() -> None:
    def packet(sequence: int, content: bytes) -> bytes:
        tcp = bytes.fromhex("1f900050") + sequence.to_bytes(4, "big") + bytes(4) + b"\x50" + bytes(7) + content
        ip = b"\x45\x00" + (20 + len(tcp)).to_bytes(2, "big") + bytes(5) + b"\x06" + bytes(2) + bytes(4 * [1] + 4 * [2])
        frame = bytes(12) + b"\x08\x00" + ip + tcp
        return bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame

    parts = [packet(2**32 - 2, b"se"), packet(3, b"t!"), packet(0, b"cr"), packet(0, b"cr"), packet(1, b"ret")]
    assert list(read_streams(bytes(24) + b"".join(parts)).values()) == [b"secret!"]


def test_full_home_is_full_on_every_machine(slurm: Cluster) -> None:
    slurm.homes.fill("alice")
    for name in ("hubhost", "node2"):
        done = slurm.machines[name].run(["dd", "if=/dev/zero", "of=more", "bs=1024", "count=1"], user="alice")
        assert "No space left" in done.stderr
    assert slurm.nodes["node1"].run(["touch", "/home/bob/fits"], user="bob").returncode == 0
    slurm.homes.restore()
    assert slurm.nodes["node2"].run(["touch", "fits"], user="alice").returncode == 0


def test_folder_of_the_computer_shown_to_a_running_machine(slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "content").write_text("here")
    slurm.hub.bind(tmp_path, "/opt/shown", read_only=True)
    try:
        assert slurm.hub.run(["cat", "/opt/shown/content"], check=True).stdout == "here"
        assert slurm.hub.run(["touch", "/opt/shown/more"]).returncode != 0
    finally:
        slurm.hub.unbind("/opt/shown")
    assert slurm.nodes["node1"].run(["test", "-e", "/opt/shown"]).returncode == 1


def test_signals_reach_the_command_on_its_machine(slurm: Cluster) -> None:
    script = ["sh", "-c", "trap 'echo ended; exit 7' TERM; echo ready; while :; do sleep 0.1; done"]
    with slurm.hub.popen(script, user="sampan", stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        command.terminate()
        assert command.wait(10) == 7
        assert command.stdout.read() == "ended\n"
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        slurm.hub.run(["sleep", "600"], timeout_s=0.5)
    assert time.monotonic() - begun < 10
    assert "sleep 600" not in slurm.hub.run(["ps", "ax"]).stdout


def test_requests_are_counted(slurm: Cluster) -> None:
    before = slurm.count_requests()
    for _ in range(3):
        slurm.hub.run(["squeue"], user="bob", check=True)
    assert (slurm.count_requests() - before)["REQUEST_JOB_INFO"] == 3


def test_commands_for_a_process_on_the_computer(slurm: Cluster, tmp_path: Path) -> None:
    commands = slurm.commands(tmp_path / "bin", slurm.hub, "alice")
    done = subprocess.run([commands / "sbatch", "--wrap", "echo $0 and 'two  words'"], capture_output=True, check=False)
    assert done.stdout.startswith(b"Submitted batch job"), done.stderr


def test_second_testbed_is_refused_and_no_machine_is_lost(slurm: Cluster) -> None:
    alive = set(machines_alive())
    with pytest.raises(TestbedBusy), running_cluster():
        pass
    assert set(machines_alive()) == alive
    assert all(machine.pid in alive for machine in slurm.machines.values())
