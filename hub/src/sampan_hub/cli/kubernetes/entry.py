"""`sampan kubernetes entry`: comes in as people and jobs do, for `helm test`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from sampan_hub.cli.kubernetes.https import EntryClient, NoAnswer
from sampan_hub.cli.supervise import console

PATHS = {"the hub": "hub/health", "the compute service": "services/sampan/readyz"}
POLL_S = 1.0


@click.command()
@click.argument("url")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The certificate (PEM) of the authority by which to know it. Default: those that the system knows.",
)
@click.option("--wait", "wait_s", type=click.FloatRange(0, 3600), default=60, show_default=True, metavar="SECONDS")
def entry(url: str, ca: Path | None, wait_s: float) -> None:
    """Exit 0 if hub and compute service can work and are reached through the entry at URL."""
    client = EntryClient(url, ca)
    deadline_s = time.monotonic() + wait_s
    for name, path in PATHS.items():
        wrong = _ask(client, path)
        while wrong is not None and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            wrong = _ask(client, path)
        if wrong is not None:
            raise console.Failure(f"{name} at {client.target(path)}: {wrong}")
        console.say(f"{name} answers at {client.target(path)}")


def _ask(client: EntryClient, path: str) -> str | None:
    """What is wrong; None when all is well."""
    try:
        client.ask("GET", path)
    except NoAnswer as error:
        return str(error)
    return None
