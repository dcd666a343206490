"""What is wrong with a Slurm cluster and the way to it, as far as facts tell. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan_hub.cli.checks.slurm_facts import Facts
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.settings.slurm import SlurmBackend

OLDEST = (22, 5)
TESTED = ((22, 5),)
"""The versions that `make test-slurm` was run with."""
SEES_ALL = ("Operator", "Administrator")
SHORT_MEMORY_S = 60


def judge(backend: SlurmBackend, facts: Facts) -> Iterator[Trouble]:
    """Everything, what matters most first; what depends on an answer that is not there is left out."""
    if facts.missing:
        names = ", ".join(facts.missing)
        yield Trouble(
            f"{names} cannot be run in {backend.commands}",
            "install Slurm's commands here (Debian: slurm-client), or set `commands` to their folder",
        )
    if "scontrol" in facts.missing:
        return
    yield from judge_version(facts)
    if not facts.config:
        told = facts.ping.told or facts.ping.text.strip() or "it does not say why"
        yield Trouble(
            f"Slurm's controller does not answer: {told}",
            "run `scontrol ping` as this user: slurm.conf, munge and slurmctld must be as on the login nodes",
        )
    else:
        if "DOWN" in facts.ping.text:
            text = f"one of the controllers is down: {facts.ping.text.strip()}"
            yield Trouble(text, "start it again, or take it out of slurm.conf", is_mild=True)
        yield from judge_sight(facts)
        yield from judge_accounting(backend, facts)
        yield from judge_habits(facts)
    if backend.submit_as == "themselves":
        yield from judge_privilege(backend, facts)


def judge_version(facts: Facts) -> Iterator[Trouble]:
    """Known to work, may work, or too old."""
    found = re.search(r"(\d+)\.(\d+)", facts.version)
    if found is None:
        yield Trouble(f"Slurm's version is not understood: {facts.version!r}", "see `scontrol --version`", is_mild=True)
        return
    version = (int(found[1]), int(found[2]))
    if version < OLDEST:
        yield Trouble(f"{facts.version} is too old", "Sampan needs Slurm 22.05 or newer")
    elif version not in TESTED:
        tested = ", ".join(f"{major}.{minor:02}" for major, minor in TESTED)
        text = f"Sampan was not tested with {facts.version} (with: {tested})"
        yield Trouble(text, "run `sampan check --probe USER`, and try a notebook and a cluster", is_mild=True)


def judge_sight(facts: Facts) -> Iterator[Trouble]:
    """Whether this account sees everybody's jobs: what it does not see would be taken for ended."""
    if facts.admin_level in SEES_ALL or facts.me in ("root", facts.config.get("SlurmUser", "").partition("(")[0]):
        return
    grant = f"make the account an operator (`sacctmgr modify user {facts.me} set adminlevel=Operator`)"
    private = _words(facts.config.get("PrivateData", ""))
    if "jobs" in private:
        yield Trouble(f"{facts.me} does not see other users' jobs: PrivateData in slurm.conf has `jobs`", grant)
    if "jobs" in _words(facts.accounting_private):
        text = f"{facts.me} does not see how other users' jobs ended: PrivateData in slurmdbd.conf has `jobs`"
        yield Trouble(text, grant)
    if "nodes" in private or "partitions" in private:
        text = f"{facts.me} may not see all nodes and partitions (PrivateData): what is free would be shown wrongly"
        yield Trouble(text, grant, is_mild=True)


def judge_accounting(backend: SlurmBackend, facts: Facts) -> Iterator[Trouble]:
    """Whether ends are on record, and nothing that should not be."""
    is_on = facts.config.get("AccountingStorageType", "").endswith("slurmdbd")
    if backend.accounting and not is_on:
        text = "`accounting: true`, but this cluster has no accounting (AccountingStorageType)"
        yield Trouble(text, "set it to false, or leave it out")
    memory_s = _number(facts.config.get("MinJobAge", ""))
    if not is_on and memory_s is not None and 0 < memory_s < SHORT_MEMORY_S:
        yield Trouble(
            f"without accounting, Slurm forgets a job {memory_s} s after its end (MinJobAge): "
            "why it ended is not known if the service is away for longer",
            f"set MinJobAge to {SHORT_MEMORY_S * 5}, or set up slurmdbd",
            is_mild=True,
        )
    stored = _words(facts.config.get("AccountingStoreFlags", "")) & {"job_env", "job_script"}
    if stored:
        yield Trouble(
            f"accounting keeps what jobs are started with for all operators to read ({', '.join(sorted(stored))})",
            "nothing of Sampan's is secret there; what people's own jobs keep there may be: AccountingStoreFlags",
            is_mild=True,
        )


def judge_habits(facts: Facts) -> Iterator[Trouble]:
    """Settings of the cluster with which things work less well."""
    largest = _number(facts.config.get("MaxArraySize", ""))
    if largest is not None and largest < 2:
        text = "job arrays are off (MaxArraySize): every worker is submitted by itself"
        yield Trouble(text, "set MaxArraySize to 1001 or more", is_mild=True)
    if facts.config.get("ProctrackType", "") not in ("", "proctrack/cgroup"):
        text = f"{facts.config['ProctrackType']} loses processes: what a kernel started may outlive its notebook"
        yield Trouble(text, "set ProctrackType=proctrack/cgroup", is_mild=True)
    if facts.config.get("SelectType", "") == "select/linear":
        text = "every job gets whole nodes (select/linear), however small its size"
        yield Trouble(text, "set SelectType=select/cons_tres, or make sizes as large as nodes", is_mild=True)


def judge_privilege(backend: SlurmBackend, facts: Facts) -> Iterator[Trouble]:
    """Whether jobs can be put into the queue as the people they belong to."""
    show = "run `sampan systemd --write /` as root"
    if not facts.run_as.is_file():
        text = f"{facts.run_as} is not there: no job can be submitted"
        yield Trouble(text, "install sampan-hub where root owns it, or set `run_as`")
        return
    if facts.untrusted is not None:
        text = f"{facts.untrusted} can be changed by others than root, so sampan-run-as will refuse to work"
        yield Trouble(text, f"run `chown root:root {facts.untrusted}` and `chmod go-w {facts.untrusted}`")
    if facts.refused_verbs:
        verbs = ", ".join(facts.refused_verbs)
        yield Trouble(f"sudo does not let {facts.me} run {facts.run_as} {verbs}", f"{show}, and check as that user")
    if isinstance(facts.policy, str):
        yield Trouble(f"sampan-run-as cannot use its settings: {facts.policy}", show)
        return
    if facts.policy.caller not in (None, facts.me):
        text = f"sampan-run-as works for {facts.policy.caller} alone, and this is {facts.me}"
        yield Trouble(text, f"check as {facts.policy.caller}, or write its settings anew: {show} --force")
    for name in ("sbatch", "scancel", "squeue", "sacct"):
        used = getattr(facts.policy, name)
        if used != str(backend.commands / name):
            text = f"sampan-run-as runs {used}, and `commands` is {backend.commands}"
            yield Trouble(text, f"{show} --force, or set `commands`")
            return
    if facts.config and facts.policy.accounting != facts.config.get("AccountingStorageType", "").endswith("slurmdbd"):
        what = "does not ask accounting" if not facts.policy.accounting else "asks accounting, which is off,"
        text = f"sampan-run-as {what} whether a job was submitted before"
        yield Trouble(text, f"{show} --force on this cluster", is_mild=not facts.policy.accounting)


def _words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}


def _number(text: str) -> int | None:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None
