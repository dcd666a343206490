"""What those files say. Pure, but for reading the templates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from sampan_hub.privilege.policy import POLICY_FILE, Policy
from sampan_hub.privilege.sudo import render_sudo_rule
from sampan_hub.settings.slurm import SlurmBackend

UNITS = ("sampan.target", "sampan-proxy.service", "sampan-hub.service", "sampan-service.service")
UNIT_FOLDER = Path("/etc/systemd/system")
SUDO_RULE = Path("/etc/sudoers.d/sampan")
FIRST_FREE_PORT = 1024
_PLAIN = re.compile(r"[A-Za-z0-9_./@:+,=-]+")


class CannotRender(Exception):
    """What cannot be written into such a file, and what to do."""


@dataclass(frozen=True, slots=True)
class SiteFile:
    path: Path
    mode: int
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the files tell: everything by its absolute path."""

    user: str
    """The system user that runs the three processes."""
    sampan: Path
    """The `sampan` command."""
    config: Path
    """The settings file."""
    state: Path
    """The state folder."""
    port: int
    """Where the proxy listens."""
    backends: tuple[SlurmBackend, ...] = ()


def render_all(facts: Facts) -> list[SiteFile]:
    """The units; where Slurm jobs run as their people also the sudo rule and the settings of sampan-run-as."""
    return [*_units(facts), *_privileged(facts)]


def _units(facts: Facts) -> Iterator[SiteFile]:
    values = {
        "user": _plain(facts.user),
        "sampan": _plain(facts.sampan),
        "config": _plain(facts.config),
        "state": _plain(facts.state),
    }
    values["hardening"] = _fill("hardening", values)
    low = "CAP_NET_BIND_SERVICE" if facts.port < FIRST_FREE_PORT else ""
    values["capabilities"] = f"CapabilityBoundingSet={low}" + (f"\nAmbientCapabilities={low}" if low else "")
    for name in UNITS:
        yield SiteFile(UNIT_FOLDER / name, 0o644, _fill(name, values) + "\n")


def _fill(name: str, values: dict[str, str]) -> str:
    return Template((files(__package__) / "templates" / name).read_text()).substitute(values).rstrip("\n")


def _plain(value: str | Path) -> str:
    """As it is: no unit file needs to quote it."""
    text = str(value)
    if _PLAIN.fullmatch(text) is None:
        raise CannotRender(f"{text!r} has characters that mean something to systemd: take a plainer path or name.")
    return text


def _privileged(facts: Facts) -> Iterator[SiteFile]:
    through_sudo = [backend for backend in facts.backends if backend.submit_as == "themselves"]
    if not through_sudo:
        return
    backend = through_sudo[0]
    program = backend.run_as or facts.sampan.with_name("sampan-run-as")
    try:
        yield SiteFile(SUDO_RULE, 0o440, render_sudo_rule(facts.user, str(program)))
    except ValueError as error:
        raise CannotRender(f"{error}; set `run_as` of the backend.") from error
    names = ("sbatch", "scancel", "squeue", "sacct")
    policy: dict[str, object] = {name: str(backend.commands / name) for name in names}
    policy |= {"accounting": bool(backend.accounting), "min_uid": 1000, "caller": facts.user}
    policy["refuse_groups"] = Policy().refuse_groups
    yield SiteFile(Path(POLICY_FILE), 0o644, json.dumps(policy, indent=2) + "\n")
