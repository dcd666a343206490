"""The `sampan` command: a table of subcommands, each imported only when it is the one called."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import NamedTuple

import click

from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import KeyFileError


class Subcommand(NamedTuple):
    target: str
    """`module:function` of the click command."""
    summary: str
    """Said in `sampan --help`, which imports no subcommand."""


SUBCOMMANDS: dict[str, Subcommand] = {
    "up": Subcommand("sampan_hub.cli.up:up", "Serve: run proxy, hub and service, and keep them running."),
    "run": Subcommand("sampan_hub.cli.run:run", "Run one process of the three, for systemd to keep."),
    "down": Subcommand("sampan_hub.cli.down:down", "End proxy, hub and service; --jobs ends the jobs too."),
    "check": Subcommand("sampan_hub.cli.check:check", "List what is wrong here, each with its remedy."),
    "config": Subcommand("sampan_hub.cli.config:config", "Show, check and change the settings file."),
    "user": Subcommand("sampan_hub.cli.user:user", "Add people, list and revoke their personal links."),
    "link": Subcommand("sampan_hub.cli.link:link", "Print a fresh login link."),
    "token": Subcommand("sampan_hub.cli.token:token", "Print a new JupyterHub API token of a person."),
    "pause": Subcommand("sampan_hub.cli.pause:pause", "Take no new work, and say why."),
    "resume": Subcommand("sampan_hub.cli.pause:resume", "Take new work again."),
    "jobs": Subcommand("sampan_hub.cli.jobs:jobs", "List the jobs that have not ended."),
    "log": Subcommand("sampan_hub.cli.log:log", "Print the end of what a job wrote, also of one that has ended."),
    "systemd": Subcommand("sampan_hub.cli.systemd:systemd", "Print the files with which systemd runs a site."),
    "proxy": Subcommand("sampan_hub.cli.proxy:proxy", "Install the proxy that people and jobs come in by."),
    "kubernetes": Subcommand("sampan_hub.cli.kubernetes:kubernetes", "What the chart's containers run, and keys."),
    "env": Subcommand("sampan_hub.cli.env:env", "Build environments for people's code on shared storage."),
    "backup": Subcommand("sampan_hub.cli.backup:backup", "Save databases, keys, links and settings in one file."),
    "restore": Subcommand("sampan_hub.cli.restore:restore", "Bring back what `sampan backup` saved."),
}


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and loads only the one asked for."""

    called = "sampan"
    table = SUBCOMMANDS

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        module, function = entry.target.split(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        _take_config(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self.table, n=1)
            hint = f" Did you mean `{self.called} {close[0]}`?" if close else f" `{self.called} --help` lists all."
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.table.items()])

    def invoke(self, ctx: click.Context) -> object:
        """What a person can put right is said in sentences, the same way for every subcommand; exit 2: the settings."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for finding in error.findings:
                click.echo(str(finding), err=True)
            ctx.exit(2)
        except KeyFileError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}. `sampan check` may say more.") from error


_CONFIG = "config_path"


def _remember_config(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.obj = value


def _config_option() -> click.Option:
    """`--config`, understood before and after the subcommand; commands get the path with `@click.pass_obj`."""
    return click.Option(
        ["--config", _CONFIG],
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The settings file. Default: $SAMPAN_CONFIG, else ./sampan.yaml where there is one.",
        expose_value=False,
        callback=_remember_config,
    )


def _take_config(command: click.Command) -> None:
    """The command takes `--config`, and so do its own subcommands."""
    if not any("--config" in parameter.opts for parameter in command.params):
        command.params.append(_config_option())
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _take_config(below)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, params=[_config_option()])
@click.version_option(package_name="sampan-hub", prog_name="sampan")
def main() -> None:
    """Sampan: notebooks and Dask on your own machine, your cluster, your cloud."""
