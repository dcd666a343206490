"""`sampan token`: a new JupyterHub API token, for scripts on the server's own machine."""

from __future__ import annotations

from pathlib import Path

import click

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.people import PeopleError, open_people
from sampan_hub.cli.supervise.site import load_site
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import KeyFileError


@click.command()
@click.argument("name")
@click.option("--note", default="sampan token", help="What the token is for, as its owner's token page shows it.")
@click.pass_obj
def token(config: Path | None, name: str, note: str) -> None:
    """Print a new JupyterHub API token of NAME, and nothing else."""
    try:
        people = open_people(load_site(config))
        people.require(name)
        print(people.make_token(name, note))
    except (SettingsError, KeyFileError, PeopleError) as error:
        raise console.Failure(str(error)) from error
