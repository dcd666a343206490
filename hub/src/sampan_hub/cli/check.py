"""`sampan check`: everything that is wrong with an installation, numbered, each with its remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan_hub.cli.checks import login, machine, running, slurm, state, storage, sudo_rule, tls
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.cli.config import judge
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.defaults import complete
from sampan_hub.settings.findings import Finding, SettingsError
from sampan_hub.settings.load import find_settings_file, load_settings
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.model import Tls


@click.command()
@click.option("--probe", "probe_as", metavar="USER", help="With Slurm: look at a node too, by a tiny job of this user.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 600), default=0, metavar="SECONDS", help="Right after a start."
)
@click.pass_context
def check(ctx: click.Context, probe_as: str | None, wait_s: float) -> None:
    """List what is wrong here, each with its remedy; exit 1 if anything is."""
    count = 0
    for trouble in find_troubles(ctx.obj, probe_as, wait_s):
        if trouble.is_mild:
            click.secho(f"warning: {trouble.text}\n   Remedy: {trouble.remedy}", fg="red")
            continue
        count += 1
        click.echo(f"{count}. {trouble.text}\n   Remedy: {trouble.remedy}")
    click.echo(f"{count} finding{'s' if count > 1 else ''}" if count else "no findings")
    ctx.exit(1 if count else 0)


def find_troubles(config_path: Path | None, probe_as: str | None = None, wait_s: float = 0) -> Iterator[Trouble]:
    """Everything found, as it is found. What depends on settings that cannot be read is left out."""
    findings, red = judge(config_path)
    yield from (_as_trouble(finding) for finding in findings)
    for finding in red:
        click.secho(f"warning: {finding}", fg="red")
    try:
        settings = complete(load_settings(config_path), detect_machine())
    except SettingsError:
        return
    file = find_settings_file(config_path, os.environ, Path.cwd())
    site = Site(settings, file)
    if settings.layout is None:  # in a cluster it is a Secret, and the key of the entry is the proxy's alone
        yield from state.check_settings_file(file)
    yield from login.check_login(settings.login)
    if isinstance(settings.tls, Tls):
        yield from tls.check_tls(settings.tls, datetime.now(UTC), has_key=settings.layout is None)
    ours = state.is_ours_to_read(site.paths)
    if ours:
        running.wait_until_served(site, wait_s)
    yield from machine.check_open_files(settings, running.find_pids(site) if ours else ())
    yield from machine.check_environments(settings)
    yield from state.check_state_folder(site.paths)
    if ours:
        yield from _about_installation(site)
    yield from sudo_rule.check_sudo_rule(settings)
    yield from slurm.check_slurm(site, probe_as)
    yield from storage.check_storage(settings)


def _about_installation(site: Site) -> Iterator[Trouble]:
    yield from state.check_key_files(site.paths)
    yield from tls.check_own(site.settings, site.paths, datetime.now(UTC))
    yield from state.check_clock(site.paths)
    yield from state.check_one_installation(site)
    yield from running.check_processes(site)
    yield from running.check_other_users_of_folder(site)
    yield from running.check_answers(site)
    yield from running.check_service_findings(site)


def _as_trouble(finding: Finding) -> Trouble:
    remedy = finding.remedy or "change it in the settings file; `sampan config check` says when it is right"
    return Trouble(str(Finding(finding.key, finding.text, finding.file, finding.position)), remedy)
