"""The texts of configuration files. Pure: a profile in, a text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template

from tests.testbeds.slurm.profile import CONTROLLER, DESK, JOB_PORTS, PUBLIC_PORTS, SRUN_PORTS, Profile, User

TEMPLATES = Path(__file__).parent / "templates"


def read_template(name: str) -> str:
    return (TEMPLATES / name).read_text()


def _fill(name: str, **values: str) -> str:
    return Template(read_template(name)).substitute(values)


def render_slurm_conf(profile: Profile, settings: Mapping[str, str], *, cgroups: bool) -> str:
    """`settings`: what `Profile.all_settings` gives, or that with changes."""
    return _fill(
        "slurm.conf",
        controller_address=CONTROLLER,
        srun_ports="-".join(map(str, SRUN_PORTS)),
        containment=_containment(cgroups),
        accounting=_accounting(profile.accounting),
        settings="\n".join(f"{key}={value}" for key, value in settings.items()),
        nodes=_nodes(profile),
        partitions=_partitions(profile),
    )


def _containment(cgroups: bool) -> str:
    if cgroups:
        return "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup"
    return (
        "ProctrackType=proctrack/pgid\nTaskPlugin=task/none\n"
        "JobAcctGatherParams=OverMemoryKill\nEpilog=/etc/slurm/epilog.sh"
    )


def _accounting(wanted: bool) -> str:
    if not wanted:
        return "AccountingStorageType=accounting_storage/none"
    return (
        "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=ctl\nAccountingStoragePort=6819\n"
        "AccountingStorageEnforce=associations,limits,qos\nAccountingStorageTRES=gres/gpu"
    )


def _nodes(profile: Profile) -> str:
    lines = []
    for number, name in enumerate(profile.node_names, 1):
        gpus = " Gres=gpu:fake:2 Features=x86,gpu" if number <= profile.gpu_nodes else " Features=x86"
        lines.append(
            f"NodeName={name} NodeAddr={profile.addresses[name]} CPUs={profile.cpus}"
            f" RealMemory={profile.memory_mb}{gpus} State=UNKNOWN"
        )
    return "\n".join(lines)


def _partitions(profile: Profile) -> str:
    names = profile.node_names
    text = f"PartitionName=compute Nodes={','.join(names)} Default=YES MaxTime=1:00:00 DefaultTime=10:00 State=UP"
    if profile.gpu_nodes:
        text += f"\nPartitionName=gpu Nodes={','.join(names[: profile.gpu_nodes])} MaxTime=30:00 State=UP"
    return text


def render_gres_conf(profile: Profile) -> str:
    names = ",".join(profile.node_names[: profile.gpu_nodes])
    return f"NodeName={names} Name=gpu Type=fake File=/dev/fakegpu[0-1]\n" if names else ""


def render_slurmdbd_conf(private_data: str = "none") -> str:
    return _fill("slurmdbd.conf", private_data=private_data)


def render_firewall(role: str) -> str:
    """`role`: node, hub or controller."""
    srun = f"{SRUN_PORTS[0]}-{SRUN_PORTS[1]}"
    ports = {
        "node": ["6818", f"{JOB_PORTS[0]}-{JOB_PORTS[1]}", srun],
        "hub": [*map(str, PUBLIC_PORTS), srun],
        "controller": ["6817", "6819"],
    }[role]
    return _fill("firewall.nft", ports=", ".join(ports), desk=DESK)


def render_hosts(profile: Profile) -> str:
    lines = [f"{address} {name}" for name, address in profile.addresses.items()]
    return "\n".join(["127.0.0.1 localhost", *lines, ""])


def render_accounts(users: Iterable[User]) -> str:
    """For `sacctmgr load`: one call instead of several, each of which takes half a second."""
    lines = ["Cluster - 'testbed':QOS='normal,urgent':DefaultQOS='normal'", "Parent - 'root'"]
    by_account: dict[str, list[str]] = {}
    for user in users:
        by_account.setdefault(user.account, []).append(user.name)
        by_account.setdefault("common", []).append(user.name)
    lines += [f"Account - '{name}':Description='{name}':Organization='testbed'" for name in by_account]
    home = {user.name: user.account for user in users}
    for account, names in by_account.items():
        lines.append(f"Parent - '{account}'")
        lines += [f"User - '{name}':DefaultAccount='{home[name]}'" for name in names]
    return "\n".join(lines) + "\n"


def render_passwd(text: str, users: Iterable[User]) -> str:
    """/etc/passwd with our users, and none of the computer's own people or ours of an earlier time."""
    names = {user.name for user in users}
    kept = [
        line
        for line in text.splitlines()
        if (fields := line.split(":"))[0] not in names and (int(fields[2]) < 1000 or int(fields[2]) >= 60000)
    ]
    ours = [f"{u.name}:x:{u.uid}:{u.uid}::{u.home}:{u.shell}" for u in users]
    return "\n".join([*kept, *ours, ""])


def render_group(text: str, users: Iterable[User]) -> str:
    names = {user.name for user in users}
    kept = [line for line in text.splitlines() if line.split(":")[0] not in names]
    return "\n".join([*kept, *(f"{u.name}:x:{u.uid}:" for u in users), ""])


def render_shadow(text: str, users: Iterable[User]) -> str:
    """Nobody has a password; `chpasswd` on a machine gives one there."""
    names = {user.name for user in users}
    kept = [line for line in text.splitlines() if line.split(":")[0] not in names]
    return "\n".join([*kept, *(f"{u.name}:!:19000:0:99999:7:::" for u in users), ""])
