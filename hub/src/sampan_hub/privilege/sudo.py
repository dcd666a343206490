"""The sudo rule with which the service's account may call `sampan-run-as`. Pure."""

from __future__ import annotations

import re

from sampan_hub.privilege import forms
from sampan_hub.privilege.requests import VERBS

_NAMED = re.compile(
    r"# What (?P<user>\S+) may do as root: [^\n]*\nCmnd_Alias SAMPAN_RUN_AS = (?P<path>\S+) submit,.*", re.DOTALL
)


def is_own_rule(text: str) -> bool:
    """Whether this is what `render_sudo_rule` made for some account and path, and nobody changed."""
    named = _NAMED.fullmatch(text)
    try:
        return named is not None and text == render_sudo_rule(named["user"], named["path"])
    except ValueError:
        return False


def render_sudo_rule(user: str, path: str) -> str:
    """The file for `/etc/sudoers.d/sampan`: these four commands, spelled out, for this account; no argument is free.

    ValueError for an account or path that the rule could not name without a doubt.
    """
    if forms.USER.fullmatch(user) is None or forms.PROGRAM.fullmatch(path) is None:
        raise ValueError(f"no sudo rule can be made for {user!r} and {path!r}: only plain names and absolute paths")
    calls = ", \\\n    ".join(f"{path} {verb}" for verb in VERBS)
    return (
        f"# What {user} may do as root: put jobs into Slurm's queue, as the people they belong to.\n"
        f"Cmnd_Alias SAMPAN_RUN_AS = {calls}\n"
        f"Defaults!SAMPAN_RUN_AS env_reset, !env_keep, !setenv, !requiretty, !use_pty, !lecture\n"
        f"{user} ALL=(root) NOPASSWD: SAMPAN_RUN_AS\n"
    )
