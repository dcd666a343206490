"""The `sampan` command: a table of subcommands, each imported only when it is the one called."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

import click


class Subcommand(NamedTuple):
    target: str
    """`module:function` of the click command."""
    summary: str
    """Said in `sampan --help`, which imports no subcommand."""


SUBCOMMANDS: dict[str, Subcommand] = {
    "up": Subcommand("sampan_hub.cli.up:up", "Serve: run proxy, hub and service, and keep them running."),
    "down": Subcommand("sampan_hub.cli.down:down", "End proxy, hub and service; --jobs ends the jobs too."),
    "check": Subcommand("sampan_hub.cli.check:check", "List what is wrong here, each with its remedy."),
    "config": Subcommand("sampan_hub.cli.config:config", "Show, check and change the settings file."),
    "user": Subcommand("sampan_hub.cli.user:user", "Add people, list and revoke their personal links."),
    "link": Subcommand("sampan_hub.cli.link:link", "Print a fresh login link."),
    "token": Subcommand("sampan_hub.cli.token:token", "Print a new JupyterHub API token of a person."),
    "pause": Subcommand("sampan_hub.cli.pause:pause", "Take no new work, and say why."),
    "resume": Subcommand("sampan_hub.cli.pause:resume", "Take new work again."),
    "jobs": Subcommand("sampan_hub.cli.jobs:jobs", "List the jobs that have not ended."),
}


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and loads only the one asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = SUBCOMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, function = entry.target.split(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in SUBCOMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sampan-hub", prog_name="sampan")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings file; default: $SAMPAN_CONFIG, else ./sampan.yaml where there is one.",
)
@click.pass_context
def main(ctx: click.Context, config_path: Path | None) -> None:
    """Sampan: notebooks and Dask on your own machine, your cluster, your cloud."""
    ctx.obj = config_path
