"""`sampan kubernetes state`: what init containers run before a side's processes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from sampan_hub.cli.kubernetes.filling import fill_hub, fill_proxy
from sampan_hub.cli.kubernetes.restoring import restore_waiting
from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.prepare import CannotStart, explained
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.effective import effective_settings, front_settings
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.layout import Layout

POLL_S = 1.0


@click.command()
@click.argument("side", type=click.Choice(("hub", "proxy")))
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Where the Secret of `sampan kubernetes keys` is mounted.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long the hub's side waits for its databases.",
)
@click.pass_obj
def state(config: Path | None, side: str, source: Path, wait_s: float) -> None:
    """Fill the state folder of one side from the installation's keys, and make the certificates it shows.

    The hub's side then waits until its databases answer, and restores the backup that waits, if one does.
    """
    try:
        site = load_site(config, effective_settings if side == "hub" else front_settings)
        layout = site.settings.layout
        if layout is None:
            raise CannotStart("The settings have no `layout`: nothing here is apart.")
        now = datetime.now(UTC)
        with explained(site.paths.root):
            if side == "hub":
                _prepare_hub(site, layout, source, wait_s, now)
            else:
                fill_proxy(site, layout, source, now)
    except (SettingsError, CannotStart) as error:
        raise console.Failure(str(error)) from error


def _prepare_hub(site: Site, layout: Layout, source: Path, wait_s: float, now: datetime) -> None:
    fill_hub(site, layout, source, now)
    wait_for_databases(site, wait_s)
    restored = restore_waiting(site, now)
    for line in restored:
        console.say(line)
    if restored:
        fill_hub(site, layout, source, now)  # the backup's certificates are of another day


def wait_for_databases(site: Site, wait_s: float) -> None:
    """Returns when both take a connection; raises CannotStart when one has not in time."""
    deadline_s = time.monotonic() + wait_s
    for key in ("database", "hub_database"):
        url = getattr(site.settings, key)
        if url is not None:
            _wait_for(key, str(url), deadline_s)


def _wait_for(key: str, url: str, deadline_s: float) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    is_told = False
    while True:
        try:
            engine.connect().close()
        except SQLAlchemyError as error:
            what = str(getattr(error, "orig", None) or error).splitlines()[0]
            if time.monotonic() > deadline_s:
                raise CannotStart(f"The database of `{key}` does not answer: {what}") from error
            if not is_told:
                console.say(f"waiting for the database of `{key}`: {what}")
                is_told = True
            time.sleep(POLL_S)
        else:
            return
