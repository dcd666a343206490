"""Puts site files where they belong: all or none, and never over what somebody changed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sampan_hub.cli.sitefiles.render import SUDO_RULE, SiteFile
from sampan_hub.privilege.sudo import is_own_rule

BEFORE = ".before"
"""What is added to the name of a file that was replaced; sudo and systemd read no such names."""
CHECK_TIMEOUT_S = 30


class CannotPlace(Exception):
    """Nothing was written: what is in the way, and what to do."""


def place(wanted: Sequence[SiteFile], root: Path, force: bool) -> list[Path]:
    """The files are there, under `root`, which of them were written; raises CannotPlace.

    With `force` a file that says something else is kept under another name and replaced.
    """
    todo = [file for file in wanted if _read(_under(root, file)) != file.text]
    changed = [_under(root, file) for file in todo if _under(root, file).exists()]
    if changed and not force:
        names = ", ".join(map(str, changed))
        raise CannotPlace(f"{names} would change: compare with `sampan systemd`; --force replaces, and keeps a copy.")
    drafts = [(_draft(_under(root, file), file), _under(root, file)) for file in todo]
    try:
        for (draft, _), file in zip(drafts, todo, strict=True):
            if file.path == SUDO_RULE:
                _check_sudo_rule(draft)
        for draft, target in drafts:
            if target.exists():
                shutil.copy2(target, target.with_name(target.name + BEFORE))
            draft.replace(target)
    finally:
        for draft, _ in drafts:
            draft.unlink(missing_ok=True)
    return [target for _, target in drafts]


def find_unneeded_rule(wanted: Sequence[SiteFile], root: Path, force: bool) -> Path | None:
    """The sudo rule under `root` where none is wanted; raises CannotPlace where it was changed, but for `force`."""
    rule = root / SUDO_RULE.relative_to("/")
    text = _read(rule)
    if text is None or any(file.path == SUDO_RULE for file in wanted):
        return None
    if not force and not is_own_rule(text):
        raise CannotPlace(f"{rule} is not needed any more, but was changed: look at it; --force removes it.")
    return rule


def remove_rule(rule: Path) -> None:
    """The rule is gone; of one that somebody changed a copy is kept that sudo does not read."""
    if is_own_rule(rule.read_text()):
        rule.unlink()
    else:
        rule.replace(rule.with_name(rule.name + BEFORE))


def ensure_state_folder(folder: Path, user: str) -> None:
    """The state folder is there and is that user's alone: units that may write nowhere else cannot make it."""
    if folder.exists():
        return
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise CannotPlace(
            f"There is no user {user}: run `useradd --system --create-home --home-dir {folder.parent} {user}`, "
            "or name another one with --user."
        ) from None
    _make_missing(folder.parent)
    folder.mkdir(mode=0o700)
    with _opened(folder) as descriptor:
        os.fchown(descriptor, account.pw_uid, account.pw_gid)


def _under(root: Path, file: SiteFile) -> Path:
    return root / file.path.relative_to("/")


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _make_missing(folder: Path) -> None:
    """The folder and those above it are there; what is made can be entered by everybody, whatever the umask."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir()
        with _opened(missing) as descriptor:
            os.fchmod(descriptor, 0o755)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder that was just made, and no link: whoever owns the one above could have put one in its place."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _draft(target: Path, file: SiteFile) -> Path:
    _make_missing(target.parent)
    draft = target.with_name(f".{target.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, file.mode)
        stream.write(file.text)
    return draft


def _check_sudo_rule(draft: Path) -> None:
    """A rule that sudo cannot read would keep everybody from using sudo."""
    visudo = shutil.which("visudo", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if visudo is None:
        raise CannotPlace("visudo is missing, so the sudo rule cannot be checked: install sudo.")
    words = [visudo, "--check", "--quiet", f"--file={draft}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False)
    if done.returncode:
        raise CannotPlace(f"sudo would not take the rule: {done.stdout}{done.stderr}")
