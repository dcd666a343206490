"""`sampan kubernetes probe`: for the kubelet, which cannot look at who listens on loopback."""

from __future__ import annotations

from pathlib import Path

import click

from sampan_hub.cli.supervise.health import ask_health, health_file


@click.command()
@click.argument("name", type=click.Choice(("hub", "service")))
@click.option("--ready", is_flag=True, help="Ask whether it can work, not only whether it lives.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/sampan/state"),
    show_default=True,
    metavar="FOLDER",
    help="The state folder (`state_dir`); the settings are not read, for this runs often.",
)
def probe(name: str, ready: bool, state: Path) -> None:
    """Exit 0 if the hub or the service that works with this state folder is well, else 1 with what is wrong."""
    wrong = ask_health(health_file(state / "run", name), "ready" if ready else "alive")
    if wrong is not None:
        raise click.ClickException(f"{name}: {wrong}")
