"""`sampan-run-as` with the real sudo, the real Slurm and real people: what the stand-ins only pretend."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sampan_hub
from sampan_hub.privilege.requests import Cancel, Log, Options, Remove, Request, Submit, render_request
from sampan_hub.privilege.sudo import render_sudo_rule
from tests.support.installation import wait_until
from tests.support.slurm_requests import INSTANCE, NAME, STAGE, make_options, make_submit
from tests.testbeds.slurm.cluster import Cluster

PROGRAM = "/opt/sampan-run-as/bin/sampan-run-as"
RULE = "/etc/sudoers.d/sampan-run-as"
SETTINGS = "/etc/sampan/run-as.json"
PYTHON = "/usr/bin/python3.11"
TELL = b"""import os
print(os.getuid(), os.environ.get("SLURM_ARRAY_TASK_ID"), os.getcwd(), os.environ["HOME"], flush=True)
"""
SLEEP = TELL + b"import time; time.sleep(300)\n"


class Caller:
    """The service's account on the hub host."""

    def __init__(self, slurm: Cluster) -> None:
        self.slurm = slurm

    def ask(self, request: Request) -> dict[str, Any]:
        """The whole answer."""
        verb, data = render_request(request)
        argv = ["sudo", "-n", "--", PROGRAM, verb]
        done = self.slurm.hub.run(argv, user="sampan", input=data.decode(), timeout_s=100)
        assert done.stdout, done.stderr
        return dict(json.loads(done.stdout))

    def do(self, request: Request) -> dict[str, Any]:
        said = self.ask(request)
        assert "ok" in said, said
        return dict(said["ok"])

    def fail(self, request: Request) -> tuple[str, str]:
        error = self.ask(request)["error"]
        return error["code"], error["text"]

    def queue(self, *options: str) -> list[str]:
        return self.slurm.ask("squeue", "-h", "-a", "-r", f"--name={NAME}", "-o", "%i|%u|%T", *options).splitlines()

    def wait_for_log(self, stage: str, file: str = "job.log") -> str:
        log = self.slurm.home("alice") / ".sampan/jobs" / stage / file
        wait_until(lambda: log.exists() and log.read_text().endswith("\n"), 60, f"{file} of {stage}")
        return log.read_text()


@pytest.fixture
def caller(slurm: Cluster, no_jobs: None) -> Iterator[Caller]:
    """The program as an administrator installs it, and its caller."""
    hub, top = slurm.hub, slurm.hub.path("/opt/sampan-run-as")
    package = top / "lib/sampan_hub"
    source = Path(next(iter(sampan_hub.__path__)))
    shutil.copytree(source / "privilege", package / "privilege", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "__init__.py", package)
    (top / "bin").mkdir()
    hub.path(PROGRAM).write_text(
        f"#!{PYTHON} -I\nimport sys\nsys.path.insert(0, '/opt/sampan-run-as/lib')\n"
        "from sampan_hub.privilege.__main__ import main\nsys.exit(main())\n"
    )
    hub.path(PROGRAM).chmod(0o755)
    hub.path(RULE).write_text(render_sudo_rule("sampan", PROGRAM))
    hub.path(RULE).chmod(0o440)
    hub.path(SETTINGS).parent.mkdir(exist_ok=True)
    before = hub.path(SETTINGS).read_bytes() if hub.path(SETTINGS).exists() else None
    hub.path(SETTINGS).write_text(json.dumps({"accounting": slurm.accounting is not None, "caller": "sampan"}))
    try:
        yield Caller(slurm)
    finally:
        shutil.rmtree(top)
        hub.path(RULE).unlink()
        hub.path(SETTINGS).unlink()
        if before is not None:
            hub.path(SETTINGS).write_bytes(before)
        for user in ("alice", "bob"):
            shutil.rmtree(slurm.home(user) / ".sampan", ignore_errors=True)


def ask_for(options: Options | None = None, code: bytes = TELL, stage: str = STAGE, user: str = "alice") -> Submit:
    files = {"start.py": code, "batch.json": b"{}"}
    return make_submit(user, options, files=files, stage=stage, script_python=PYTHON)


def test_a_job_runs_as_its_person_once(caller: Caller) -> None:
    said = caller.do(ask_for())
    assert said["was_there"] is False
    stage = f"/home/alice/.sampan/jobs/{STAGE}"
    assert caller.wait_for_log(STAGE) == f"4001 None {stage} /home/alice\n"
    assert caller.do(Log("alice", STAGE, "job.log", 5))["lines"] == [f"4001 None {stage} /home/alice"]
    assert caller.do(ask_for()) == said | {"was_there": True}
    record = caller.slurm.home("alice") / ".sampan/jobs" / STAGE / "submitted.json"
    record.unlink()
    assert caller.do(ask_for()) == said | {"was_there": True}  # from the queue
    caller.slurm.wait_for_job(said["slurm_job"], "COMPLETED")
    with caller.slurm.changed({"MinJobAge": "2"}):
        wait_until(lambda: not caller.queue("-t", "all"), 120, "Slurm has forgotten the job")
    record.unlink()
    assert caller.do(ask_for()) == said | {"was_there": True}  # from accounting
    assert caller.do(Remove("alice", (STAGE,))) == {}
    assert not record.parent.exists()


def test_tasks_of_an_array_are_cancelled_alone_and_together(caller: Caller) -> None:
    options = make_options(tasks=(0, 3), memory_mb=100)
    job = caller.do(ask_for(options, SLEEP))["slurm_job"]
    for task in range(4):
        assert caller.wait_for_log(STAGE, f"{task}.log").split()[:2] == ["4001", str(task)]
    mine = caller.slurm.submit("alice", "#!/bin/sh\nsleep 300\n")
    bobs = caller.do(ask_for(make_options(), SLEEP, user="bob"))["slurm_job"]
    asked = (f"{job}_1", f"{job}_3", str(mine), str(bobs), "4000000")
    assert caller.do(Cancel("alice", asked, f"sampan.{INSTANCE}."))["cancelled"] == [f"{job}_1", f"{job}_3"]
    left = {f"{job}_0", f"{job}_2", str(bobs)}
    wait_until(lambda: {line.split("|")[0] for line in caller.queue()} == left, 60, "the end of two tasks")
    assert caller.slurm.ask("squeue", "-h", "-j", str(mine), "-o", "%T") == "RUNNING\n"
    rest = tuple(f"{job}_{task}" for task in range(4))
    assert caller.do(Cancel("alice", rest, f"sampan.{INSTANCE}."))["cancelled"] == [str(job)]
    wait_until(lambda: {line.split("|")[0] for line in caller.queue()} == {str(bobs)}, 60, "the end of the array")
    assert caller.do(Cancel("alice", rest, f"sampan.{INSTANCE}."))["cancelled"] == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"account": "nobodys"}, "Invalid account or account/partition combination specified"),
        ({"qos": "nonesuch"}, "Invalid qos specification"),
        ({"constraint": "nonesuch"}, "Invalid feature specification"),
        ({"gres": "fpga:1"}, "Invalid generic resource (gres) specification"),
        ({"reservation": "nonesuch"}, "Requested reservation is invalid"),
        ({"cpus": 60_000}, "More processors requested than permitted"),
        ({"minutes": 5_000_000}, "Requested time limit is invalid"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words(caller: Caller, changed: dict[str, Any], sentence: str) -> None:
    code, text = caller.fail(ask_for(make_options(**changed)))
    assert (code, sentence in text) == ("refused", True), text
    assert caller.queue() == []


def test_a_controller_that_is_away_refuses_nothing(caller: Caller) -> None:
    other = f"sampan.{INSTANCE}.{'b' * 24}.0"  # accounting remembers the jobs of other tests by name and folder
    request_ = ask_for(make_options(name=other), stage=f"{other}.0")
    caller.slurm.slurmctld.stop()
    requests: list[Request] = [request_, Cancel("alice", ("1",), f"sampan.{INSTANCE}.")]
    for request in requests:
        code, text = caller.fail(request)
        assert code == "unreachable", text
    caller.slurm.start_slurmctld()
    assert caller.do(request_)["was_there"] is False


def test_a_full_home_is_told_to_its_person(caller: Caller) -> None:
    caller.slurm.homes.fill("alice")
    code, text = caller.fail(ask_for(code=TELL + b"#" * 100_000))
    assert (code, text[:40]) == ("home_full", "Your home folder is full (/home/alice): "), text
    assert caller.queue() == []
    assert caller.do(ask_for(user="bob"))["was_there"] is False


def test_every_directive_of_the_list_is_one_that_sbatch_knows(caller: Caller) -> None:
    """What Slurm then says of the value is its business; that it knows the option is ours."""
    for directive in DIRECTIVE_EXAMPLES:
        said = caller.ask(ask_for(make_options(directives=(directive,))))
        text = said.get("error", {}).get("text", "")
        assert "unrecognized" not in text, (directive, text)
        assert said.get("error", {}).get("code") in (None, "refused"), (directive, said)
        caller.slurm.cancel_all()
        caller.do(Remove("alice", (STAGE,)))


DIRECTIVE_EXAMPLES = [
    "--contiguous", "--core-spec=0", "--cpu-freq=medium", "--delay-boot=0", "--exclude=node1", "--exclusive",
    "--exclusive=user",
    "--gpu-freq=low", "--gres-flags=enforce-binding", "--hint=nomultithread", "--licenses=x:1",
    "--mcs-label=x", "--mincpus=1",
    "--network=x", "--nice=1", "--nodelist=node1", "--oversubscribe", "--prefer=x", "--spread-job",
    "--switches=1@1:00",
    "--thread-spec=0", "--threads-per-core=1", "--tmp=1M", "--use-min-nodes", "--wckey=x",
]  # fmt: skip
