"""`sampan run`: become one of the processes, for systemd, a cluster or another keeper to start again."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.apart import ENTRIES, FRONT
from sampan_hub.cli.supervise.arrange import NAMES, arrange, arrange_apart
from sampan_hub.cli.supervise.commands import Command, make_environment, orders_of
from sampan_hub.cli.supervise.filled import ensure_filled
from sampan_hub.cli.supervise.health import leave_health
from sampan_hub.cli.supervise.known import check_people
from sampan_hub.cli.supervise.launch import launch
from sampan_hub.cli.supervise.prepare import CannotStart, prepared
from sampan_hub.cli.supervise.processes import is_running
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.effective import effective_settings, front_settings
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.layout import Layout


@click.command()
@click.argument("name", type=click.Choice((*NAMES, *ENTRIES)))
@click.pass_obj
def run(config: Path | None, name: str) -> None:
    """Run one process in the foreground, exactly as `sampan up` would; nothing starts it again when it ends.

    For systemd (`sampan systemd` prints the units) and other keepers of processes. The entries are for containers of a
    Kubernetes cluster, as is all else where the settings have a `layout`.
    """
    try:
        site = load_site(config, front_settings if name in FRONT else effective_settings)
        if site.settings.layout is None:
            _run_here(site, name)
        else:
            _run_apart(site, site.settings.layout, name)
    except (SettingsError, CannotStart) as error:
        raise console.Failure(str(error)) from error


def _run_here(site: Site, name: str) -> None:
    if name in ENTRIES:
        raise CannotStart(f"The settings have no `layout`, so nothing needs {name}.")
    check_people(site)
    with prepared(site):
        _require_free_name(site, name)
        _, commands = arrange(site)
        _become(site, commands[name])


def _run_apart(site: Site, layout: Layout, name: str) -> None:
    if name not in FRONT:
        check_people(site)
    with prepared(site, lambda site: ensure_filled(site, name)):
        _require_free_name(site, name)
        command = arrange_apart(site, layout, name)
        for socket in command.replaces:
            socket.unlink(missing_ok=True)
        leave_health(site, command)
        _become(site, command)


def _require_free_name(site: Site, name: str) -> None:
    if is_running(site.paths.run, name):
        raise CannotStart(f"The {name} runs here already: `sampan down` ends it.")


def _become(site: Site, command: Command) -> None:
    """Does not return."""
    if command.name == "service":
        console.warn_of_policy(site)
    environment = make_environment(os.environ, site, command)
    os.environ.clear()
    os.environ.update(environment)
    orders = orders_of(command, site.read_settings_text())
    launch(site.paths.run, command.name, orders, list(command.argv), kept_by="run")
