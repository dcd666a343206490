"""The root folder of a machine: the computer's /etc copied and cleaned, empty places else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.testbeds.slurm.profile import SAMPAN, USERS, Profile
from tests.testbeds.slurm.render import (
    read_template,
    render_group,
    render_hosts,
    render_passwd,
    render_shadow,
)

PLACES = ("usr", "proc", "sys", "dev", "run", "tmp", "home", "shared", "opt", "srv", "mnt")
VAR_PLACES = ("tmp", "cache", "log", "lib/sudo", "spool/slurmd")
OWNED = (("log/slurm", "slurm"), ("spool/slurmctld", "slurm"), ("log/munge", "munge"), ("lib/munge", "munge"))
# Of a machine itself, or secrets of the computer that no machine needs.
NOT_COPIED = ("ssh", "sudoers.d", "slurm", "resolv.conf", "hostname", "mtab", "sampan", "systemd", "munge")


def make_etc(folder: Path, profile: Profile) -> None:
    """The /etc that every machine gets a copy of: same users, same names everywhere."""
    subprocess.run(["cp", "-a", "/etc", str(folder)], check=True)  # keeps owners and modes
    for name in NOT_COPIED:
        _remove(folder / name)
    for name, render in (("passwd", render_passwd), ("group", render_group), ("shadow", render_shadow)):
        _replace(folder / name, render((folder / name).read_text(), USERS))
    shutil.chown(folder / "shadow", "root", "shadow")
    (folder / "shadow").chmod(0o640)
    _replace(folder / "hosts", render_hosts(profile))
    _replace(folder / "resolv.conf", "")
    _replace(folder / "nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n")
    _replace(folder / "sudoers", read_template("sudoers"))
    (folder / "sudoers").chmod(0o440)
    (folder / "sudoers.d").mkdir(mode=0o750)
    (folder / "slurm").mkdir()
    _make_munge_key(folder / "munge")


def _make_munge_key(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(b"the key of a testbed, which protects nothing" * 2)
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


def make_root(root: Path, etc: Path, name: str) -> None:
    """A machine's disk as it was installed. It stays when the machine crashes."""
    root.mkdir(parents=True)
    for place in PLACES:
        (root / place).mkdir()
    for place in VAR_PLACES:
        (root / "var" / place).mkdir(parents=True, exist_ok=True)
    (root / "root").mkdir(mode=0o700)
    (root / "var/run").symlink_to("/run")
    (root / "var/lock").symlink_to("/run/lock")
    for link in Path("/").iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(("usr/", "/usr/")):
            (root / link.name).symlink_to(link.readlink())
    subprocess.run(["cp", "-a", str(etc), str(root / "etc")], check=True)
    (root / "etc/hostname").write_text(f"{name}\n")
    for place, owner in OWNED:
        (root / "var" / place).mkdir(mode=0o755, parents=True)
        shutil.chown(root / "var" / place, owner, owner)
    state = root / SAMPAN.home.lstrip("/")
    state.mkdir(mode=0o750)
    os.chown(state, SAMPAN.uid, SAMPAN.uid)


def make_homes(folder: Path) -> None:
    """/home of all machines: one folder, private to each person."""
    folder.mkdir(mode=0o755)
    for user in USERS:
        if user.home.startswith("/home/"):
            home = folder / user.name
            home.mkdir(mode=0o700)
            os.chown(home, user.uid, user.uid)
