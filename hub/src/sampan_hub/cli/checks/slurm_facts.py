"""What the machine and its cluster say of themselves, collected once for all findings. Nothing is judged here."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sampan_hub
from sampan_hub.backends.slurm.submitting import run_as_of
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.policy import POLICY_FILE, Policy, find_untrusted, load_policy
from sampan_hub.privilege.requests import VERBS
from sampan_hub.settings.slurm import SlurmBackend

ASK_TIMEOUT_S = 20
PROGRAMS = ("squeue", "sinfo", "sacct", "scontrol", "sbatch", "scancel")
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_CONFIG_LINE = re.compile(r"(\w+)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. `is_ok`: it ended with 0, in time."""

    is_ok: bool
    text: str = ""
    told: str = ""
    """What it complained of, first line."""


Ask = Callable[[Sequence[str]], Answer]


@dataclass(frozen=True, slots=True)
class Facts:
    """One backend's. Lists and mappings are empty where nothing could be found out."""

    me: str
    """The account that runs the check, which should be the one that runs Sampan."""
    missing: tuple[str, ...] = ()
    """Commands that are not in `commands:`."""
    version: str = ""
    ping: Answer = Answer(False)
    config: dict[str, str] = field(default_factory=dict)
    partitions: tuple[dict[str, str], ...] = ()
    nodes: tuple[dict[str, str], ...] = ()
    admin_level: str = ""
    """What accounting lets this account do: `None`, `Operator`, `Administrator`; empty when it does not say."""
    accounting_private: str = ""
    """`PrivateData` of slurmdbd."""
    run_as: Path = Path("/")
    untrusted: str | None = None
    """What somebody besides root could change of sampan-run-as; None: nothing, or it is not there."""
    refused_verbs: tuple[str, ...] = ()
    """What sudo does not let this account do."""
    policy: Policy | str = field(default_factory=Policy)
    """Root's settings of sampan-run-as, or why they cannot be used."""


def ask(argv: Sequence[str]) -> Answer:
    """Run it, bounded in time."""
    try:
        done = subprocess.run(
            list(argv),
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(False, told=f"no answer within {ASK_TIMEOUT_S} s")
    except OSError as error:
        return Answer(False, told=f"{argv[0]}: {error.strerror}")
    told = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "")
    return Answer(done.returncode == 0, done.stdout, told)


def has_accounting(backend: SlurmBackend) -> bool:
    """Whether ends of jobs are on record: as the settings say, else as the controller does; no without an answer."""
    if backend.accounting is not None:
        return backend.accounting
    config = parse_config(ask([str(backend.commands / "scontrol"), "show", "config"]).text)
    return config.get("AccountingStorageType", "").endswith("slurmdbd")


def collect(backend: SlurmBackend, ask: Ask = ask, policy_file: str = POLICY_FILE) -> Facts:
    """Everything about this backend's cluster and the way to it."""
    folder, me = backend.commands, getpass.getuser()
    missing = tuple(name for name in PROGRAMS if not os.access(folder / name, os.X_OK))
    scontrol = str(folder / "scontrol")
    if "scontrol" in missing:
        return Facts(me, missing)
    ping = ask([scontrol, "ping"])
    config = parse_config(ask([scontrol, "show", "config"]).text)
    show = [scontrol, "--all", "--oneliner", "show"]
    is_accounted = config.get("AccountingStorageType", "").endswith("slurmdbd")
    sacctmgr = [str(folder / "sacctmgr"), "--noheader", "--parsable2", "show"]
    level = ask([*sacctmgr, "user", me, "format=AdminLevel"]).text.strip() if is_accounted else ""
    private = parse_config(ask([*sacctmgr[:1], "show", "configuration"]).text) if is_accounted else {}
    run_as, untrusted, refused, policy = _collect_privilege(backend, ask, policy_file)
    return Facts(
        me=me,
        missing=missing,
        version=ask([scontrol, "--version"]).text.strip(),
        ping=ping,
        config=config,
        partitions=parse_records(ask([*show, "partition"]).text, "PartitionName"),
        nodes=parse_records(ask([*show, "node"]).text, "NodeName"),
        admin_level=level,
        accounting_private=private.get("PrivateData", ""),
        run_as=run_as,
        untrusted=untrusted,
        refused_verbs=refused,
        policy=policy,
    )


def _collect_privilege(
    backend: SlurmBackend, ask: Ask, policy_file: str
) -> tuple[Path, str | None, tuple[str, ...], Policy | str]:
    run_as = run_as_of(backend)
    if backend.submit_as == "one" or not run_as.exists():
        return run_as, None, (), Policy()
    sudo = [str(backend.sudo), "-n", "-l", str(run_as)]
    refused = tuple(verb for verb in VERBS if not ask([*sudo, verb]).is_ok)
    try:
        policy: Policy | str = load_policy(policy_file)
    except RunAsError as error:
        policy = error.text
    return run_as, find_untrusted([str(run_as), sys.executable, sampan_hub.__file__]), refused, policy


def parse_config(text: str) -> dict[str, str]:
    """`scontrol show config`, `sacctmgr show configuration`: one `Name = value` on a line."""
    return {match[1]: match[2].strip() for match in map(_CONFIG_LINE.fullmatch, text.splitlines()) if match}


def parse_records(text: str, first: str) -> tuple[dict[str, str], ...]:
    """`scontrol --oneliner show …`: records of `Name=value`, a line each; values with blanks keep their first word."""
    found = []
    for line in text.splitlines():
        words = (word.partition("=") for word in line.split() if "=" in word)
        record = {name: value for name, _, value in words}
        if first in record:
            found.append(record)
    return tuple(found)
