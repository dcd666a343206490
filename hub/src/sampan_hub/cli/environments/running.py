"""Asking an installation what runs, as its own user: its keys are for nobody else, not for root either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sampan_hub.cli.environments.trouble import CannotBuild
from sampan_hub.cli.supervise.site import Site

ASK_TIMEOUT_S = 60
UNKNOWN = "Which jobs run cannot be found out; --force removes versions in spite of it."


def ask_jobs(site: Site) -> Any:
    """The answer of `sampan jobs --json`; raises CannotBuild when there is none."""
    try:
        owner = site.paths.root.stat()
    except OSError as error:
        raise CannotBuild(
            f"Nothing here says which jobs run ({site.paths.root}: {error.strerror}): name the settings of the "
            "installation with --config, or remove versions in spite of it with --force."
        ) from error
    words = [str(Path(sys.executable).with_name("sampan"))]
    if site.settings_file is not None:
        words += ["--config", str(site.settings_file.absolute())]
    as_owner = os.geteuid() == 0 and owner.st_uid != 0
    try:
        done = subprocess.run(
            [*words, "jobs", "--json"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
            user=owner.st_uid if as_owner else None,
            group=owner.st_gid if as_owner else None,
            extra_groups=() if as_owner else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{UNKNOWN} ({error})") from error
    if done.returncode:
        raise CannotBuild(f"{UNKNOWN} {done.stderr}")
    return json.loads(done.stdout)
