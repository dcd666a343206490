"""What root has decided for this program: `/etc/sampan/run-as.json`, or the defaults where there is no such file."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from typing import NamedTuple

from sampan_hub.privilege import forms
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.strict import Fields, parse_object

POLICY_FILE = "/etc/sampan/run-as.json"
"""Fixed: no argument and no variable can name another."""

_MAX_POLICY_BYTES = 65_536
_MAX_GROUPS = 64
_STAGE_ROOT = re.compile(r"(?:/(?:[A-Za-z0-9_@+-][A-Za-z0-9_@+.-]{0,254}|%u)){2,32}")


class Policy(NamedTuple):
    """Which programs are run, for whom, and where jobs are prepared."""

    sbatch: str = "/usr/bin/sbatch"
    scancel: str = "/usr/bin/scancel"
    squeue: str = "/usr/bin/squeue"
    sacct: str = "/usr/bin/sacct"
    slurm_conf: str | None = None
    accounting: bool = False
    """Whether sacct is asked, beside squeue, whether a job had been submitted."""
    stage_root: str | None = None
    """Shared folder of everybody's jobs with `%u` for the user; None: `.sampan/jobs` in the home folder."""
    min_uid: int = 1000
    caller: str | None = None
    """The only account that may call through sudo; None: whomever sudo lets."""
    refuse_groups: tuple[str, ...] = (
        "root", "sudo", "wheel", "admin", "adm", "docker", "lxd", "incus-admin", "libvirt", "disk", "kmem", "shadow",
    )  # fmt: skip
    """Whoever is in one of these can become root, so nothing is done as them. A group that does not exist is passed."""


def _read(fields: Fields, name: str) -> str | int | bool | tuple[str, ...]:
    if name in ("sbatch", "scancel", "squeue", "sacct", "slurm_conf"):
        return fields.text(name, forms.PROGRAM)
    if name == "min_uid":
        return fields.whole(name, 1, 65_533)
    if name == "caller":
        return fields.text(name, forms.USER)
    if name == "refuse_groups":
        return fields.texts(name, forms.USER, _MAX_GROUPS)
    if name == "stage_root":
        root = fields.text(name, _STAGE_ROOT)
        if root.count("%u") != 1:
            raise RunAsError("request", "stage_root does not have %u, the user's name, once.")
        return root
    value = fields.object(name)
    if type(value) is not bool:
        raise RunAsError("request", f"{name} is neither true nor false.")
    return value


def parse_policy(data: bytes) -> Policy:
    """The settings in `data`; what is left out has its default, what is unknown is refused. Pure."""
    values = parse_object(data)
    unknown = [name for name in values if name not in Policy._fields]
    if unknown:
        raise RunAsError("request", f"There is no setting {unknown[0]!r}.")
    fields = Fields(values, tuple(values))
    return Policy(**{name: _read(fields, name) for name in values})  # type: ignore[arg-type]  # by name, just checked


def render_policy(policy: Policy) -> bytes:
    """The text that `parse_policy` reads back as these settings. Pure."""
    return json.dumps({name: value for name, value in policy._asdict().items() if value is not None}).encode()


def _is_roots(path: str) -> bool:
    found = os.lstat(path)
    return found.st_uid == 0 and (stat.S_ISLNK(found.st_mode) or not found.st_mode & 0o022)


def find_untrusted(paths: Iterable[str]) -> str | None:
    """The first of these that somebody besides root can change: each, every link on the way, and the folders above."""
    seen: set[str] = set()
    for path in paths:
        for start in (os.path.abspath(path), os.path.realpath(path)):
            untrusted = _first_untrusted(start, seen)
            if untrusted is not None:
                return untrusted
    return None


def _first_untrusted(path: str, seen: set[str]) -> str | None:
    """From the root folder down, into links: a link of root's in a folder of somebody else's leads where they want."""
    if path in seen:
        return None
    seen.add(path)
    above = os.path.dirname(path)
    untrusted = _first_untrusted(above, seen)
    if untrusted is not None:
        return untrusted
    if not _is_roots(path):
        return path
    if not os.path.islink(path):
        return None
    target = os.path.normpath(os.path.join(os.path.realpath(above), os.readlink(path)))
    return _first_untrusted(target, seen)


def require_roots(paths: Iterable[str]) -> None:
    """Refuses to go on where somebody besides root could change one of them."""
    untrusted = find_untrusted(paths)
    if untrusted is not None:
        raise RunAsError(
            "installation",
            f"{untrusted} can be changed by others than root: give it to root and take write permission from others.",
        )


def load_policy(path: str = POLICY_FILE) -> Policy:
    """Root's settings; the defaults where the file does not exist. Refuses a file that others can change."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise RunAsError("installation", f"{path} cannot be read: {error.strerror}.") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RunAsError("installation", f"{path} is not a file.")
        require_roots([path])
        data = os.read(descriptor, _MAX_POLICY_BYTES)
    finally:
        os.close(descriptor)
    try:
        return parse_policy(data)
    except RunAsError as error:
        raise RunAsError("installation", f"{path}: {error.text}") from None
