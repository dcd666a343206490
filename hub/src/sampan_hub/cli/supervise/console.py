"""What `sampan …` says: one line at a time, and no traceback for what a person can put right."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

import click

from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.policy import warnings


class Failure(click.ClickException):
    """One sentence and the remedy; exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.secho(f"sampan: {self.message}", fg="red", file=file or sys.stderr)


def warn_of_policy(site: Site) -> None:
    """What the settings allow and is dangerous, in red."""
    for finding in warnings(site.settings):
        click.secho(f"warning: {finding}", fg="red", err=True)


def say(line: str) -> None:
    """One line, at once. A terminal that was closed is no reason to end."""
    try:
        print(line, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process


def say_link(link: str) -> None:
    """The one link, on a line of its own."""
    say(f"\n    {link}\n")
