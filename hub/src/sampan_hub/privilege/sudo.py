"""The sudo rule with which the service's account may call `sampan-run-as`. Pure."""

from __future__ import annotations

from sampan_hub.privilege import forms
from sampan_hub.privilege.requests import VERBS


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
