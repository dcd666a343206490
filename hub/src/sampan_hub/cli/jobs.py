"""`sampan jobs`: what runs and waits, of everybody."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sampan_hub.cli.api import open_api
from sampan_hub.settings.units import render_memory

_WIDE = 200
"""Columns where there is no terminal: nothing is cut in a file or a pipe."""


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also those that have ended.")
@click.option("--json", "as_json", is_flag=True, help="The service's answer as it is, for programs.")
@click.pass_obj
def jobs(config_path: Path | None, show_all: bool, as_json: bool) -> None:
    """List the jobs that have not ended."""
    answer = open_api(config_path).get("jobs")
    listed = [job for job in answer["jobs"] if show_all or job["state"] != "ended"]
    if as_json:
        click.echo(json.dumps({**answer, "jobs": listed}, indent=2))
        return
    if answer.get("paused"):
        click.secho(f"paused: {answer['paused']}", fg="yellow")
    if not listed:
        click.echo("no jobs")
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    console.print(make_table(listed, datetime.now(UTC)))


def make_table(listed: list[dict[str, Any]], now: datetime) -> Table:
    """One row for each job, in the order given. What people chose as names is shown as text, never as markup."""
    table = Table(box=None, pad_edge=False)
    for heading in ("job", "kind", "owner", "name", "size", "memory", "state", "for", "why"):
        table.add_column(heading, no_wrap=heading == "job", overflow="fold")
    for job in listed:
        cells = (
            job["id"],
            job["kind"],
            job["owner"],
            job["name"],
            job["size"],
            render_memory(job["memory_bytes"]),
            describe_state(job),
            render_age(now - datetime.fromisoformat(job["state_since"])) if job.get("state_since") else "",
            (job.get("reason") or {}).get("text", ""),
        )
        table.add_row(*(Text(printable(str(cell))) for cell in cells))
    return table


def describe_state(job: dict[str, Any]) -> str:
    """`running`, `accepted, place 3 in the queue`, `running, out of sight`, `running, lost`."""
    text = str(job["state"])
    if job.get("position"):
        text += f", place {job['position']} in the queue"
    if job.get("lost"):
        return text + ", lost"
    return text + ", out of sight" if job.get("unknown_since") else text


def render_age(age: timedelta) -> str:
    """The two largest parts: `45s`, `3m10s`, `2h05m`, `4d03h`."""
    total_s = max(0, int(age.total_seconds()))
    minutes, seconds = divmod(total_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"


def printable(text: str) -> str:
    """The text without characters that would move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() else "�" for character in text)
