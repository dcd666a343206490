"""Whom it works for, and becoming that person for good."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from typing import NamedTuple

from sampan_hub.privilege import forms
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.policy import POLICY_FILE, Policy

_NOBODY = (65_534, 65_535, 2**32 - 2, 2**32 - 1)
_NO_LOGIN = frozenset({"nologin", "false", "true", "sync", "halt", "shutdown"})


class Account(NamedTuple):
    """One person as the system knows them."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def find_refusal(account: Account, min_uid: int) -> str | None:
    """Why nothing is done for this account; None when it is an ordinary person's. Pure."""
    if forms.USER.fullmatch(account.name) is None:
        return "the name has characters that are not supported"
    if account.uid == 0 or account.gid == 0:
        return "the account is root's or of its group"
    if account.uid < min_uid or account.uid in _NOBODY:
        return f"it is a system account (uid {account.uid}; people's begin at {min_uid})"
    if os.path.basename(account.shell) in _NO_LOGIN:
        return "it is an account that cannot log in"
    if forms.FOLDER.fullmatch(account.home) is None:
        return "its home folder has a name that is not supported"
    return None


def look_up(user: str) -> Account:
    """The account of that name, as the system's databases have it now."""
    try:
        found = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise RunAsError(
            "user", f"There is no account {user} on this machine: ask an administrator to make one."
        ) from None
    return _account(found)


def look_up_self() -> Account:
    """The account that runs this process."""
    try:
        return _account(pwd.getpwuid(os.getuid()))
    except KeyError:
        raise RunAsError("user", f"The uid {os.getuid()} has no account on this machine.") from None


def _account(found: pwd.struct_passwd) -> Account:
    return Account(found.pw_name, found.pw_uid, found.pw_gid, found.pw_dir, found.pw_shell)


def require_person(account: Account, policy: Policy) -> None:
    """Refuses root, who can become root, system accounts and whoever cannot log in."""
    reason = find_refusal(account, policy.min_uid)
    if reason is not None:
        raise RunAsError("user", f"Nothing is run as {account.name!r}: {reason}.")
    group = find_group(account, policy.refuse_groups)
    if group is not None:
        raise RunAsError(
            "user",
            f"Nothing is run as {account.name!r}: it is in the group {group}, whose members can become root, so use an "
            f"account that is not, or have an administrator change refuse_groups in {POLICY_FILE}.",
        )


def find_group(account: Account, names: Iterable[str]) -> str | None:
    """The first of these groups that the account has, by number, as one may have two names; None: it has none."""
    held = {account.gid, *os.getgrouplist(account.name, account.gid)}
    for name in names:
        try:
            if grp.getgrnam(name).gr_gid in held:
                return name
        except KeyError:
            continue
    return None


def become(account: Account) -> None:
    """This process is that person from here on: groups, gid, uid, with no way back. Needs root."""
    os.initgroups(account.name, account.gid)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    is_done = os.getresuid() == (account.uid,) * 3 and os.getresgid() == (account.gid,) * 3
    if not is_done or _can_return():
        raise RunAsError("installation", f"Could not become {account.name} for good.")


def _can_return() -> bool:
    try:
        os.setuid(0)
    except PermissionError:
        return False
    return True
