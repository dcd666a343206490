"""`sampan proxy`: the proxy that people come in by is a program of its own, which the hub's wheel does not carry."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sampan_hub.cli.environments.locking import Source
from sampan_hub.cli.environments.node import install_proxy
from sampan_hub.cli.environments.trouble import CannotBuild
from sampan_hub.cli.supervise import console


@click.group()
def proxy() -> None:
    """Install the proxy that people and jobs come in by."""


@proxy.command()
@click.option(
    "--find-links",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    metavar="FOLDER",
    help="Take the wheel that carries node from this folder, where the system's node is too old.",
)
def install(find_links: Path | None) -> None:
    """Install configurable-http-proxy of this version's lock beside the `sampan` command (in a clone: `make up`).

    With the system's node and npm where they are new enough, else with those of a wheel.
    """
    try:
        version = install_proxy(Path(sys.prefix) / "node", Source(find_links), console.say)
    except CannotBuild as error:
        raise console.Failure(str(error)) from error
    console.say(f"configurable-http-proxy {version} is installed in {sys.prefix}/node")
