"""What bob gets of alice's while both work: no word from her listeners, no task taken, no file, no page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.at_work import RESULT, AtWork
from tests.slurm.installation.site import Site
from tests.support import stranger
from tests.support.person import Person
from tests.testbeds.slurm.machine import Machine
from tests.testbeds.slurm.profile import ALICE

STRANGER = Path(stranger.__file__).read_text()
API = "/services/sampan/api/v1"
PROBE = """
import json, os, pathlib, subprocess
pathlib.Path("stranger.py").write_text(stranger)
pairs = [os.environ["JUPYTERHUB_SSL_CERTFILE"], os.environ["JUPYTERHUB_SSL_KEYFILE"]]
pairs += [os.environ[f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__{end}"] for end in ("CERT", "KEY")]
print(subprocess.run(["/usr/bin/python3", "-I", "stranger.py", json.dumps(addresses), *pairs],
                     capture_output=True, text=True, check=True).stdout)
"""
AS_A_CLIENT = """
import json
from distributed import Client
outcomes = {}
for address in addresses:
    try:
        with Client(address, security=client.security, timeout=4, set_as_default=False) as other:
            outcomes[address] = repr(other.submit(sum, [1, 2]).result(5))
    except OSError as error:
        outcomes[address] = "refused"
print(json.dumps(outcomes))
"""
OPEN = """
import json, os, sys
opened = []
for path in json.load(sys.stdin):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
        opened.append(path)
    except OSError:
        pass
print(json.dumps(opened))
"""


def listeners(machine: Machine) -> list[dict[str, Any]]:
    """Where alice's processes listen on a machine, by `ss` alone: TCP, and unix sockets with a name."""
    found: list[dict[str, Any]] = []
    pids = set(machine.run(["ps", "-o", "pid=", "-u", ALICE.name]).stdout.split())
    for line in machine.run(["ss", "-H", "-l", "-n", "-t", "-x", "-p"], check=True).stdout.splitlines():
        if not pids & set(re.findall(r"pid=(\d+)", line)):
            continue
        kind, _, _, _, local, *_ = line.split()
        if kind == "tcp":
            host, _, port = local.rpartition(":")
            found.append({"tcp": int(port), "host": host.strip("[]")})
        elif local.startswith("/"):
            found.append({"unix": local})
    return found


def check_nothing_said(report: list[dict[str, Any]]) -> None:
    for seen in report:
        for answer in seen["http"].values():
            status = answer.split(" ", 2)[1] if answer.startswith("HTTP/") else ""
            assert not status.startswith("2"), seen
            assert RESULT not in answer, seen
        for word in (seen["tls"], *seen["tls_as_oneself"]):
            assert not word.startswith("said") or word == "said 0 bytes", seen
        assert RESULT not in seen["zmq"], seen


@pytest.fixture(scope="module")
def hers(site: Site, working: AtWork) -> dict[str, list[dict[str, Any]]]:
    """Alice's listeners, by node."""
    found = {name: listeners(node) for name, node in site.cluster.nodes.items()}
    return {name: there for name, there in found.items() if there}


def test_she_does_listen_where_jobs_may(site: Site, hers: dict[str, list[dict[str, Any]]]) -> None:
    tcp = [address for there in hers.values() for address in there if "tcp" in address]
    open_to_others = [address for address in tcp if address["host"] not in ("127.0.0.1", "::1")]
    assert len(open_to_others) >= 4, "a notebook, a scheduler, two workers"
    addresses = {node.address for node in site.cluster.nodes.values()}
    assert {address["host"] for address in open_to_others} <= addresses, "on the configured network alone"
    assert all(31000 <= address["tcp"] <= 31999 for address in open_to_others), open_to_others


def test_her_listeners_say_nothing_to_his_kernel(working: AtWork, hers: dict[str, list[dict[str, Any]]]) -> None:
    tcp = [address for there in hers.values() for address in there if "tcp" in address]
    kernel = working.bob.notebook.kernel()
    kernel.run(f"stranger = {STRANGER!r}; addresses = {tcp!r}")
    check_nothing_said(json.loads(kernel.run(PROBE, 120)))


def test_her_schedulers_and_workers_take_no_task_of_his(working: AtWork, hers: dict[str, list[dict[str, Any]]]) -> None:
    tcp = [address for there in hers.values() for address in there if "tcp" in address]
    addresses = [f"tls://{address['host']}:{address['tcp']}" for address in tcp if address["host"] != "127.0.0.1"]
    outcomes = json.loads(working.bob.kernel.run(f"addresses = {addresses!r}\n{AS_A_CLIENT}", 120))
    assert set(outcomes) == set(addresses)
    assert set(outcomes.values()) == {"refused"}, outcomes
    own = json.loads(working.bob.kernel.run(f"addresses = [client.scheduler.address]\n{AS_A_CLIENT}", 60))
    assert list(own.values()) == ["3"], "the same words, to his own"


def test_on_her_own_nodes_he_gets_nothing_either(
    site: Site, working: AtWork, hers: dict[str, list[dict[str, Any]]]
) -> None:
    for name, addresses in hers.items():
        argv = ["/usr/bin/python3", "-I", "-c", STRANGER, json.dumps(addresses)]
        done = site.cluster.nodes[name].run(argv, user="bob", timeout_s=120, check=True)
        check_nothing_said(json.loads(done.stdout))


def test_none_of_her_files_opens(site: Site, working: AtWork, hers: dict[str, list[dict[str, Any]]]) -> None:
    places = ("/home/alice", "/tmp", "/var/tmp", "/dev/shm", "/run", "/var/spool")
    for name in hers:
        node = site.cluster.nodes[name]
        found = node.run(["find", *places, "-user", ALICE.name, "!", "-type", "l"]).stdout.splitlines()
        assert any(path.startswith("/home/alice/.sampan/jobs/") for path in found), "the stage"
        assert any(path.startswith(f"/tmp/sampan-{ALICE.uid}-job-") for path in found), "the job's folder"
        pids = node.run(["ps", "-o", "pid=", "-u", ALICE.name], check=True).stdout.split()
        memory = [f"/proc/{pid}/{file}" for pid in pids for file in ("environ", "mem", "fd", "cwd", "maps")]
        opened = node.run(["/usr/bin/python3", "-c", OPEN], user="bob", input=json.dumps([*found, *memory]), check=True)
        assert json.loads(opened.stdout) == [], name
        own = node.run(["/usr/bin/python3", "-c", OPEN], user="alice", input=json.dumps(found), check=True)
        assert len(json.loads(own.stdout)) > len(found) / 2, "she opens them"


def test_pages_and_api_refuse_him(working: AtWork, bob: Person, alice: Person) -> None:
    job, worker = working.alice.notebook.job["id"], working.alice.jobs()[-1]
    cluster = next(each["cluster"] for each in working.alice.jobs() if each["cluster"])
    asked = [
        ("GET", f"{API}/jobs/{job}"),
        ("GET", f"{API}/jobs/{job}/log"),
        ("GET", f"{API}/jobs/{worker['id']}"),
        ("GET", f"{API}/clusters/{cluster}"),
        ("DELETE", f"{API}/clusters/{cluster}"),
        ("GET", "/user/alice/api/contents"),
        ("GET", "/user/alice/api/kernels"),
        ("GET", "/user/alice/sampan/status"),
        ("GET", "/hub/api/users/alice"),
        ("DELETE", "/hub/api/users/alice/server"),
    ]
    answers = {(method, path): bob.ask(method, path)[0] for method, path in asked}
    assert set(answers.values()) <= {403, 404}, str(answers)
    refused = bob.service("POST", "/jobs/stop", {"ids": [job]})
    assert refused[1]["items"][0]["status"] == "refused", refused
    assert {each["owner"] for each in bob.service("GET", "/jobs")[1]["jobs"]} == {"bob"}
    readable = {path: alice.ask("GET", path)[0] for method, path in asked if method == "GET"}
    assert set(readable.values()) == {200}, str(readable)


def test_dashboards_and_pages_refuse_him(working: AtWork, bob: Person, alice: Person) -> None:
    job = working.alice.notebook.job["id"]
    pages = [f"/services/sampan/jobs/{job}", "/user/alice/sampan/work/status", "/user/alice/lab"]
    answers = {path: bob.browse(path) for path in pages}
    assert set(answers.values()) <= {403, 404}, str(answers)
    assert {path: alice.browse(path) for path in pages} == dict.fromkeys(pages, 200)


def test_without_a_login_there_is_nothing(site: Site, working: AtWork) -> None:
    job = working.alice.notebook.job["id"]
    for path in (f"{API}/jobs/{job}", "/user/alice/api/contents", "/hub/api/users/alice"):
        assert site.ask("GET", path)[0] in (401, 403), path
