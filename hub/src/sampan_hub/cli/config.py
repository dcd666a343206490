"""`sampan config`: what the settings are, whether they are right, and changing one of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.edit import EditError, parse_key, with_key, write_text
from sampan_hub.settings.findings import Finding, SettingsError
from sampan_hub.settings.load import DEFAULT_NAME, find_settings_file, load_settings, parse_settings, shown_as
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.policy import refusals, warnings
from sampan_hub.settings.reference import make_schema, render_reference
from sampan_hub.settings.references import holds_plain_secret
from sampan_hub.settings.show import render_settings


@click.group()
def config() -> None:
    """Show, check and change the settings file."""


@config.command()
def schema() -> None:
    """Print the JSON schema of the settings file, for editors."""
    click.echo(json.dumps(make_schema(), indent=2))


@config.command()
def reference() -> None:
    """Print the reference page of all keys (docs/settings.md)."""
    click.echo(render_reference(), nl=False)


@config.command()
@click.pass_obj
def show(config_path: Path | None) -> None:
    """Print the settings in effect, defaults included, secrets masked."""
    settings = complete(load_settings(config_path), detect_machine())
    file = _file_in_use(config_path)
    click.echo(f"# From {file}, completed with defaults." if file else "# No settings file: all values are defaults.")
    click.echo(render_settings(settings), nl=False)


@config.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Print everything that is wrong with the settings; exit 1 if anything is."""
    findings, red = judge(ctx.obj)
    for finding in findings:
        click.echo(str(finding))
    for finding in red:
        click.secho(f"warning: {finding}", fg="red")
    if not findings:
        click.echo("no findings")
    ctx.exit(1 if findings else 0)


def judge(config_path: Path | None) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with the settings, and what they allow that is dangerous."""
    try:
        settings = complete(load_settings(config_path), detect_machine())
    except SettingsError as error:
        return list(error.findings), []
    return refusals(settings), warnings(settings)


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.pass_obj
def set_(config_path: Path | None, key: str, value: str) -> None:
    """Set KEY to VALUE (YAML) in the settings file, made if there is none. Comments and all other keys stay.

    \b
    sampan config set limits.user.cores 8
    sampan config set admins '[ana, ben]'
    sampan config set database '{file: /etc/sampan/database-url}'
    """
    file = _file_in_use(config_path) or Path.cwd() / DEFAULT_NAME
    name = shown_as(file, Path.cwd())
    try:
        path = parse_key(key)
        before = file.read_text("utf-8-sig") if file.exists() else ""
        after = with_key(before, path, _parse_value(path, value))
    except (EditError, YAMLError) as error:
        raise click.ClickException(f"{name} was not changed: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{name} cannot be changed: {error}") from error
    known = {(finding.key, finding.text) for finding in _findings_of(before, file)}
    new = [finding for finding in _findings_of(after, file) if (finding.key, finding.text) not in known]
    if new:
        raise SettingsError([*new, Finding("", f"{name} was not changed")])
    try:
        write_text(file, after)
    except OSError as error:
        raise click.ClickException(f"{name} cannot be written: {error.strerror}") from error
    click.echo(f"{name}: {key} is set; `sampan up` works by it from its next start")
    for finding in judge(config_path or file)[0]:
        click.echo(f"still to be put right: {finding}", err=True)


def _findings_of(text: str, file: Path) -> list[Finding]:
    try:
        parse_settings(text.encode(), shown_as(file, Path.cwd()), file.parent, os.environ)
    except SettingsError as error:
        return list(error.findings)
    return []


def _parse_value(path: tuple[str, ...], text: str) -> Any:
    value = YAML(typ="rt").load(text)
    if holds_plain_secret(value, path):
        raise EditError("a secret on a command line is seen by others: give '{file: PATH}' or '{env: NAME}'")
    return value


def _file_in_use(config_path: Path | None) -> Path | None:
    return find_settings_file(config_path, os.environ, Path.cwd())
