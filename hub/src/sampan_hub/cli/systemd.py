"""`sampan systemd`: the files with which systemd runs a site."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from sampan_hub.cli.checks.slurm_facts import has_accounting
from sampan_hub.cli.environments.readable import describe_barrier, find_barrier
from sampan_hub.cli.sitefiles.place import CannotPlace, ensure_state_folder, find_unneeded_rule, place, remove_rule
from sampan_hub.cli.sitefiles.render import CannotRender, Facts, render_all
from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.site import load_site
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.slurm import SlurmBackend


@click.command()
@click.option("--user", default="sampan", show_default=True, help="The system user that runs Sampan.")
@click.option(
    "--write",
    "root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Put the files into place below this folder: `/` on the machine itself.",
)
@click.option("--force", is_flag=True, help="With --write: replace files that say something else, keeping copies.")
@click.pass_obj
def systemd(config: Path | None, user: str, root: Path | None, force: bool) -> None:
    """Print the units of proxy, hub and service, and with Slurm the sudo rule and sampan-run-as's settings."""
    try:
        facts = _gather(config, user)
        wanted = render_all(facts)
        if root is None:
            for file in wanted:
                click.echo(f"# {file.path} (mode {file.mode:04o})\n{file.text}")
            return
        if os.geteuid() != 0:
            raise CannotPlace("These files must be root's: run this as root, or without --write to read them.")
        unneeded = find_unneeded_rule(wanted, root, force)
        if root.resolve() == Path("/"):
            ensure_state_folder(facts.state, user)
        written = place(wanted, root, force)
        if unneeded is not None:
            remove_rule(unneeded)
    except (SettingsError, CannotRender, CannotPlace) as error:
        raise console.Failure(str(error)) from error
    for path in written:
        console.say(f"wrote {path}")
    if unneeded is not None:
        console.say(f"removed {unneeded}: no backend needs it any more")
    console.say("now: systemctl daemon-reload, then systemctl enable --now sampan.target")


def _gather(config: Path | None, user: str) -> Facts:
    site = load_site(config)
    if site.settings_file is None:
        raise CannotRender("A site needs a settings file: name it with --config.")
    if site.settings.layout is not None:
        raise CannotRender("With a `layout` containers run `sampan run NAME`: there is nothing for systemd to keep.")
    sampan = Path(sys.executable).with_name("sampan")
    barrier = find_barrier(sampan)
    if barrier is not None:
        click.secho(f"warning: {user} may not be able to run {sampan}: {describe_barrier(barrier)}", fg="red", err=True)
    slurm = [backend for backend in site.settings.backends.values() if isinstance(backend, SlurmBackend)]
    backends = tuple(backend.model_copy(update={"accounting": has_accounting(backend)}) for backend in slurm)
    config_file, state = site.settings_file.absolute(), site.paths.root
    return Facts(user, sampan, config_file, state, site.endpoint.port, backends)
