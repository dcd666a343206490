"""Whether the account that runs Sampan may still act as everybody where no backend needs it any more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sampan_hub.backends.slurm.acting import SUDO
from sampan_hub.cli.checks.slurm_facts import Ask, ask
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.cli.sitefiles.render import SUDO_RULE
from sampan_hub.privilege.policy import POLICY_FILE
from sampan_hub.settings.model import Settings
from sampan_hub.settings.slurm import SlurmBackend

_CALL = "sampan-run-as submit"


def check_sudo_rule(
    settings: Settings, ask: Ask = ask, rule: Path = SUDO_RULE, policy_file: Path = Path(POLICY_FILE)
) -> Iterator[Trouble]:
    """A rule that outlived its need: every job of that account could use it."""
    if any(isinstance(one, SlurmBackend) and one.submit_as == "themselves" for one in settings.backends.values()):
        return
    if _is_there(rule) or _may_still_call(ask, policy_file):
        yield Trouble(
            f"no backend needs {rule} any more, and it is there: every job of Sampan's own user could act as anybody",
            "run `sampan systemd --write /` as root, which removes it",
        )


def _is_there(path: Path) -> bool:
    return os.access(path, os.F_OK)


def _may_still_call(ask: Ask, policy_file: Path) -> bool:
    """Asked of sudo, as its folder may be root's to read; only where the files were written, as sudo notes who asks."""
    return _is_there(policy_file) and _CALL in " ".join(ask([str(SUDO), "-n", "-l"]).text.split())
