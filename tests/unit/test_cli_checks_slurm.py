"""The Slurm findings of `sampan check`: decisions over what a real cluster (22.05) said of itself."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.cli.checks.probe import sending
from sampan_hub.cli.checks.probe import start as probe_program
from sampan_hub.cli.checks.probe.findings import judge_probe
from sampan_hub.cli.checks.probe.sending import Order, Outcome
from sampan_hub.cli.checks.slurm_facts import Answer, Facts, collect, parse_config, parse_records
from sampan_hub.cli.checks.slurm_findings import judge
from sampan_hub.cli.checks.slurm_sizes import judge_sizes, parse_minutes
from sampan_hub.cli.checks.sudo_rule import check_sudo_rule
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.privilege.policy import Policy
from sampan_hub.settings.model import Settings, Size
from sampan_hub.settings.slurm import SlurmBackend, SlurmPlacement
from tests.support.installation import free_port

CONFIG = """Configuration data as of 2026-11-23T04:28:43
AccountingStorageEnforce = associations,limits,qos
AccountingStorageType   = accounting_storage/slurmdbd
AccountingStoreFlags    = (null)
MaxArraySize            = 1001
MinJobAge               = 300 sec
PrivateData             = none
ProctrackType           = proctrack/cgroup
SelectType              = select/cons_tres
SlurmUser               = slurm(64030)
"""
PARTITIONS = """PartitionName=compute AllowGroups=ALL Default=YES Hidden=NO MaxTime=01:00:00 \
MaxCPUsPerNode=UNLIMITED Nodes=node[1-4] State=UP MaxMemPerNode=UNLIMITED TRES=cpu=16,mem=16000M
PartitionName=gpu AllowGroups=ALL Default=NO Hidden=NO MaxTime=00:30:00 MaxCPUsPerNode=2 Nodes=node1 State=UP \
MaxMemPerNode=3000
"""
NODES = """NodeName=node1 Arch=x86_64 CPUTot=4 AvailableFeatures=x86,gpu Gres=gpu:fake:2 OS=Linux 6.1 #1 SMP @0  \
RealMemory=4000 State=IDLE Partitions=compute,gpu  BootTime=2026-11-23T00:06:51
NodeName=node3 CPUTot=4 AvailableFeatures=x86 Gres=(null) RealMemory=4000 State=DOWN Partitions=compute
"""
BACKEND = SlurmBackend(kind="slurm", walltime=3600)


def make_facts(**changes: Any) -> Facts:
    """A cluster and a machine with which nothing is wrong."""
    usual = Facts(
        me="sampan",
        version="slurm-wlm 22.05.8",
        ping=Answer(True, "Slurmctld(primary) at ctl is UP\n"),
        config=parse_config(CONFIG),
        partitions=parse_records(PARTITIONS, "PartitionName"),
        nodes=parse_records(NODES, "NodeName"),
        admin_level="None",
        run_as=Path(sys.executable),
        policy=Policy(accounting=True, caller="sampan"),
    )
    config = {**usual.config, **changes.pop("config", {})}
    return replace(usual, config=config, **changes)


def texts(found: Iterator[Trouble], mild: bool = False) -> list[str]:
    return [trouble.text for trouble in found if trouble.is_mild is mild]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert [*judge(BACKEND, make_facts())] == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"missing": ("sacct", "sbatch")}, "sacct, sbatch cannot be run in /usr/bin"),
    ({"version": "slurm 21.08.5"}, "slurm 21.08.5 is too old"),
    ({"config": {"PrivateData": "jobs,usage"}}, "sampan does not see other users' jobs"),
    ({"accounting_private": "jobs"}, "sampan does not see how other users' jobs ended"),
    ({"refused_verbs": ("submit", "log")}, "sudo does not let sampan run .* submit, log"),
    ({"run_as": Path("/nowhere/sampan-run-as")}, "/nowhere/sampan-run-as is not there"),
    ({"untrusted": "/opt"}, "/opt can be changed by others than root"),
    ({"policy": "run-as.json is not a file."}, "cannot use its settings: run-as.json is not a file"),
    ({"policy": Policy(accounting=True, caller="hub")}, "works for hub alone, and this is sampan"),
    ({"policy": Policy(sbatch="/opt/slurm/bin/sbatch", accounting=True)}, "runs /opt/slurm/bin/sbatch, and `commands`"),
    ({"config": {"AccountingStorageType": "accounting_storage/none"}}, "asks accounting, which is off"),
]
MILD: list[tuple[dict[str, Any], str]] = [
    ({"version": "slurm 24.05.1"}, r"not tested with slurm 24.05.1 \(with: 22.05\)"),
    ({"version": "something"}, "version is not understood"),
    ({"ping": Answer(False, "Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP")}, "controllers is down"),
    ({"config": {"PrivateData": "nodes"}}, "may not see all nodes and partitions"),
    ({"config": {"AccountingStoreFlags": "job_comment,job_script"}}, r"for all operators to read \(job_script\)"),
    ({"config": {"MaxArraySize": "0"}}, "job arrays are off"),
    ({"config": {"ProctrackType": "proctrack/linuxproc"}}, "proctrack/linuxproc loses processes"),
    ({"config": {"SelectType": "select/linear"}}, "every job gets whole nodes"),
    ({"policy": Policy()}, "does not ask accounting"),
]


@pytest.mark.parametrize(("changes", "text"), WRONG)
def test_what_is_wrong_is_said_once(changes: dict[str, Any], text: str) -> None:
    found = texts(judge(BACKEND, make_facts(**changes)))
    assert len(found) == 1, found
    assert re.search(text, found[0])


@pytest.mark.parametrize(("changes", "text"), MILD)
def test_what_could_be_better_is_a_warning(changes: dict[str, Any], text: str) -> None:
    facts = make_facts(**changes)
    assert texts(judge(BACKEND, facts)) == []
    (found,) = texts(judge(BACKEND, facts), mild=True)
    assert re.search(text, found)


def test_an_operator_sees_what_is_private() -> None:
    facts = make_facts(config={"PrivateData": "jobs"}, accounting_private="jobs", admin_level="Operator")
    assert [*judge(BACKEND, facts)] == []


def test_a_controller_that_does_not_answer_is_one_finding() -> None:
    facts = replace(make_facts(ping=Answer(False, "Slurmctld(primary) at ctl is DOWN")), config={})
    (found,) = texts(judge(BACKEND, facts))
    assert "does not answer: Slurmctld(primary) at ctl is DOWN" in found


def test_without_sudo_nothing_is_asked_of_it() -> None:
    backend = SlurmBackend(kind="slurm", submit_as="one")
    assert [*judge(backend, make_facts(run_as=Path("/nowhere"), refused_verbs=("submit",)))] == []


def test_a_short_memory_without_accounting_is_a_warning() -> None:
    facts = make_facts(
        config={"AccountingStorageType": "(null)", "MinJobAge": "10 sec"}, policy=Policy(accounting=False)
    )
    (found,) = texts(judge(BACKEND, facts), mild=True)
    assert "forgets a job 10 s after its end" in found
    (wrong,) = texts(judge(SlurmBackend(kind="slurm", accounting=True), facts))
    assert "this cluster has no accounting" in wrong


# Sizes.


@pytest.mark.parametrize(
    ("size", "place", "why"),
    [
        ({}, {}, None),
        ({"cores": 8}, {}, "no node of partition compute has 8 cores"),
        ({"memory": "4G"}, {}, "no node of partition compute has 4096 MB of memory"),
        ({"gpus": 3}, {}, "no node of partition compute has 3 GPUs"),
        ({"gpus": 2}, {"partition": "gpu", "walltime": 1800}, None),
        ({}, {"partition": "gpu"}, "partition gpu ends jobs after 30 minutes, and its walltime is 60"),
        ({}, {"partition": "gpu,compute"}, None),  # one of two is enough
        ({"cores": 3}, {"partition": "gpu", "walltime": 60}, "partition gpu gives at most 2 cores on a node"),
        ({"memory": "3500M"}, {"partition": "gpu", "walltime": 60}, "partition gpu gives at most 3000 MB on a node"),
        ({}, {"partition": "long"}, "there is no partition long"),
        ({}, {"constraint": "a100"}, "no node of partition compute has the feature a100"),
        ({}, {"constraint": "[a100|h100]"}, None),  # Slurm's to judge
    ],
)
def test_sizes_are_held_against_partitions_and_nodes(
    size: dict[str, Any], place: dict[str, Any], why: str | None
) -> None:
    sizes = {"s": Size(**{"cores": 1, "memory": "1G", **size})}
    backend = SlurmBackend(kind="slurm", walltime=3600, sizes={"s": SlurmPlacement(**place)})
    found = texts(judge_sizes(backend, sizes, make_facts()))
    assert found == ([] if why is None else [f"size s can never run: {why}"])


def test_a_project_with_a_place_of_its_own_is_looked_at_too() -> None:
    backend = SlurmBackend(kind="slurm", walltime=3600, projects={"class": SlurmPlacement(partition="teaching")})
    found = texts(judge_sizes(backend, {"s": Size(cores=1, memory="1G")}, make_facts()))
    assert found == ["size s in project class can never run: there is no partition teaching"]


@pytest.mark.parametrize(
    ("text", "minutes"), [("01:00:00", 60), ("2-12:30:00", 3630), ("UNLIMITED", None), ("", None), ("INFINITE", None)]
)
def test_limits_are_read(text: str, minutes: int | None) -> None:
    assert parse_minutes(text) == minutes


# Collecting.


def test_facts_come_from_the_backends_own_commands(tmp_path: Path) -> None:
    said = {
        "scontrol --version": "slurm-wlm 22.05.8\n",
        "scontrol ping": "Slurmctld(primary) at ctl is UP\n",
        "scontrol show config": CONFIG,
        "scontrol --all --oneliner show partition": PARTITIONS,
        "scontrol --all --oneliner show node": NODES,
        "sacctmgr show configuration": "PrivateData = none\n\nSlurmDBD configuration:\nPrivateData = jobs,users\n",
    }
    for name in ("scontrol", "squeue", "sinfo", "sacct", "sbatch"):
        (tmp_path / name).touch(mode=0o755)

    def answer(argv: Sequence[str]) -> Answer:
        assert argv[0].startswith(str(tmp_path))
        words = " ".join([Path(argv[0]).name, *argv[1:]])
        if words.startswith("sacctmgr --noheader --parsable2 show user"):
            return Answer(True, "Operator\n")
        return Answer(words in said, said.get(words, ""))

    facts = collect(SlurmBackend(kind="slurm", submit_as="one", commands=tmp_path), answer)
    assert facts.missing == ("scancel",)
    assert facts.version == "slurm-wlm 22.05.8"
    assert (facts.admin_level, facts.accounting_private) == ("Operator", "jobs,users")
    assert [record["PartitionName"] for record in facts.partitions] == ["compute", "gpu"]
    assert facts.nodes[0]["RealMemory"] == "4000"
    assert facts.me == pwd.getpwuid(os.getuid()).pw_name


# A sudo rule that is left over.

LISTED = (
    "User sampan may run the following commands on hub:\n    (root) NOPASSWD: /opt/bin/sampan-run-as\n        submit"
)


@pytest.mark.parametrize(
    ("submit_as", "files", "listed", "is_found"),
    [
        ("one", ("rule",), "", True),  # root sees it
        ("one", ("run-as.json",), LISTED, True),  # others are told by sudo
        ("one", ("run-as.json",), "(ALL) NOPASSWD: ALL", False),
        ("one", (), LISTED, False),  # never written here: sudo is not asked
        ("themselves", ("rule", "run-as.json"), LISTED, False),
        (None, ("rule",), "", True),
    ],
)
def test_a_rule_that_nothing_needs_is_found(
    tmp_path: Path, submit_as: str | None, files: tuple[str, ...], listed: str, is_found: bool
) -> None:
    for name in files:
        (tmp_path / name).touch()
    backends = (
        {} if submit_as is None else {"c": SlurmBackend.model_validate({"kind": "slurm", "submit_as": submit_as})}
    )
    settings = Settings.model_construct(backends=backends)

    def answer(argv: Sequence[str]) -> Answer:
        assert argv == ["/usr/bin/sudo", "-n", "-l"]
        assert "run-as.json" in files
        return Answer(True, listed)

    found = texts(check_sudo_rule(settings, answer, tmp_path / "rule", tmp_path / "run-as.json"))
    assert len(found) == is_found
    assert all("no backend needs" in text for text in found)


# The probe.

ORDER = Order(
    user="alice",
    python="/shared/env/bin/python",
    squeue="/usr/bin/squeue",
    placed={},
    told={"url": "https://hub:8443/services/sampan", "network": None, "ports": [31000, 31999]},
)
WELL: dict[str, dict[str, Any]] = {
    "node": {"host": "node1"},
    "service": {"ok": True, "clock_s": 1},
    "environment": {"ok": True, "versions": {"sampan": "0.1.0"}},
    "listening": {"ok": True, "address": "10.88.0.11", "port": 31007},
    "end": {},
}


def outcome_with(kind: str, **said: Any) -> Outcome:
    return Outcome(lines={**WELL, kind: said}, reached="")


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome(lines=WELL, reached=""), None),
        (Outcome(refused="Invalid account"), "a job of alice could not be submitted: Invalid account"),
        (Outcome(waited="PENDING (Resources)"), "did not begin in two minutes: PENDING (Resources)"),
        (Outcome(last_words="exec: /shared/env/bin/python: not found"), "said nothing of its node (exec:"),
        (outcome_with("service", ok=False, why="timed out"), "node1 cannot reach https://hub:8443/services/sampan"),
        (outcome_with("service", ok=True, clock_s=-95), "the clock of node1 is -95 s off"),
        (outcome_with("environment", ok=False, why="No module"), "/shared/env/bin/python does not work on node1"),
        (outcome_with("environment", ok=True, versions={"sampan": "0.3.1"}), "has the client 0.3.1, and this is"),
        (outcome_with("listening", ok=False, why="none of 64"), "nothing can listen on node1: none of 64"),
        (Outcome(lines=WELL, reached="10.88.0.11 port 31007: refused"), "cannot reach a notebook on node1"),
    ],
)
def test_what_a_node_said_is_judged(outcome: Outcome, text: str | None) -> None:
    found = texts(judge_probe(ORDER, outcome, "0.1.4"))
    assert len(found) == (0 if text is None else 1)
    assert all(text in line for line in found if text is not None)


def test_other_output_of_a_node_is_left_out() -> None:
    lines = ["slurmstepd: hello", '{"kind": "node", "host": "n1"}', "[1, 2]", '{"half": ']
    assert sending.parse_lines(lines) == {"node": {"kind": "node", "host": "n1"}}


def test_the_probe_says_what_it_finds_and_can_be_reached(tmp_path: Path) -> None:
    """The program itself, here: no service answers, the environment is this one, its port can be connected to."""
    first = free_port()
    order = {
        "url": f"http://127.0.0.1:{free_port()}/services/sampan",
        "ca": "",
        "packages": ["click"],
        "network": "127.0.0.0/8",
        "ports": [first, first],
    }
    (tmp_path / "start.py").write_text(Path(probe_program.__file__).read_text())
    (tmp_path / "probe.json").write_text(json.dumps(order))
    argv = [sys.executable, "-I", "-S", tmp_path / "start.py"]
    said: dict[str, dict[str, Any]] = {}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            said.update(sending.parse_lines([line]))
            if "listening" in said and "end" not in said:
                assert sending._reach(said["listening"]["address"], said["listening"]["port"]) == ""
    assert running.returncode == 0
    assert said["service"]["ok"] is False
    assert "refused" in said["service"]["why"]
    assert set(said["environment"]["versions"]) == {"click"}
    assert said["listening"] == {"kind": "listening", "ok": True, "address": "127.0.0.1", "port": first}
    assert "end" in said
