"""`sampan kubernetes restore`: a backup for the next start of the hub's pod."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from sampan_hub.cli.archive.manifest import BackupError
from sampan_hub.cli.kubernetes.restoring import lay_down
from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.site import load_site


@click.command()
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def restore(config: Path | None, file: IO[bytes]) -> None:
    """Take a backup (`-`: from the standard input) that the hub's pod puts in place of its state when it starts anew.

    It must have been made with the keys that this installation has. Jobs run on and are recognised.
    """
    try:
        what = lay_down(load_site(config), file)
    except BackupError as error:
        raise console.Failure(str(error)) from error
    console.say(f"{what} is restored at the next start of the hub's pod: kubectl rollout restart deployment/hub")
