"""`sampan log JOB`: the end of what a job wrote, also after its end, for as long as it is kept."""

from __future__ import annotations

from pathlib import Path

import click

from sampan_hub.cli.api import open_api
from sampan_hub.cli.jobs import printable
from sampan_hub.jobs.keys import JOB_ID

LINES = 200


@click.command()
@click.argument("job")
@click.option("--lines", type=click.IntRange(1, 10_000), default=LINES, show_default=True, help="How many at most.")
@click.pass_obj
def log(config_path: Path | None, job: str, lines: int) -> None:
    """Print the last lines that JOB (an id that `sampan jobs --all` shows) wrote."""
    if not JOB_ID.match(job):
        raise click.UsageError(f"{job!r} is no id of a job: `sampan jobs --all` shows them.")
    answer = open_api(config_path).get(f"jobs/{job}/log?lines={lines}")
    if answer["truncated"]:
        click.echo("(earlier lines are left out)", err=True)
    for line in answer["lines"]:
        click.echo("\t".join(printable(part) for part in line.split("\t")))
