"""`sampan run`: become one of the three processes, for systemd or another keeper to start again."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.arrange import NAMES, arrange
from sampan_hub.cli.supervise.commands import make_environment, orders_of
from sampan_hub.cli.supervise.known import check_people
from sampan_hub.cli.supervise.launch import launch
from sampan_hub.cli.supervise.prepare import CannotStart, prepared
from sampan_hub.cli.supervise.processes import is_running
from sampan_hub.cli.supervise.site import load_site
from sampan_hub.settings.findings import SettingsError


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.pass_obj
def run(config: Path | None, name: str) -> None:
    """Run one process in the foreground, exactly as `sampan up` would; nothing starts it again when it ends.

    For systemd (`sampan systemd` prints the units) and other keepers of processes.
    """
    try:
        site = load_site(config)
        check_people(site)
        with prepared(site):
            if is_running(site.paths.run, name):
                raise CannotStart(f"The {name} runs here already: `sampan down` ends it.")
            _, commands = arrange(site)
            if name == "service":
                console.warn_of_policy(site)
            command = commands[name]
            environment = make_environment(os.environ, site, command)
            os.environ.clear()
            os.environ.update(environment)
            orders = orders_of(command, site.read_settings_text())
            launch(site.paths.run, name, orders, list(command.argv), kept_by="run")
    except (SettingsError, CannotStart) as error:
        raise console.Failure(str(error)) from error
