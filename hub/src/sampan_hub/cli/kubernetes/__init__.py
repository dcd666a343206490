"""`sampan kubernetes`: what an installation in a Kubernetes cluster needs of the command line."""

from __future__ import annotations

import click

from sampan_hub.cli.main import LazyGroup, Subcommand

_HERE = "sampan_hub.cli.kubernetes"


class KubernetesGroup(LazyGroup):
    """Its subcommands; `probe` runs every few seconds, and loads nothing of the others."""

    called = "sampan kubernetes"
    table = {  # noqa: RUF012 - a constant
        "keys": Subcommand(f"{_HERE}.keys:keys", "Make the installation's keys in the cluster, once."),
        "state": Subcommand(f"{_HERE}.state:state", "Fill the state folder of one side from those keys."),
        "probe": Subcommand(f"{_HERE}.probe:probe", "Exit 0 if the hub or the service beside this is well."),
        "entry": Subcommand(f"{_HERE}.entry:entry", "Exit 0 if hub and service are reached as people and jobs do."),
        "restore": Subcommand(
            f"{_HERE}.restore:restore", "Take a backup that the next start of the hub's pod restores."
        ),
        "leave": Subcommand(f"{_HERE}.leave:leave", "Stop every job before all is uninstalled; say what stays."),
    }


@click.group(cls=KubernetesGroup)
def kubernetes() -> None:
    """What the containers of an installation in a Kubernetes cluster run, and its keys."""
