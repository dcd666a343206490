"""`sampan restore FILE`: an installation as a backup knew it. What runs meanwhile runs on and is recognised."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan_hub.cli.archive.databases import Database, find_databases
from sampan_hub.cli.archive.manifest import SETTINGS, BackupError, Manifest
from sampan_hub.cli.archive.packing import ending_in, private_folder, read_member, unpack
from sampan_hub.cli.archive.strangers import check_jobs
from sampan_hub.cli.archive.swapping import Swap
from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.processes import is_running
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.defaults import complete
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import create_whole
from sampan_hub.settings.load import DEFAULT_NAME, find_settings_file, parse_settings, shown_as
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.policy import refusals

UNCHANGED = "Nothing was changed."


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--replace", is_flag=True, help="Put it in place of the state that is here, which is kept beside it.")
@click.pass_obj
def restore(config: Path | None, file: Path, replace: bool) -> None:
    """Bring back what `sampan backup` saved in FILE. Run `sampan down` first; jobs may run on.

    Settings that are here stay in force; where there are none, those of the backup are written.
    """
    try:
        said = _restore(config, file, replace, datetime.now(UTC))
    except BackupError as error:
        raise console.Failure(str(error)) from error
    for line in said:
        console.say(line)
    console.say("`sampan up` serves it; jobs that run are recognised within seconds")


def _restore(config: Path | None, file: Path, replace: bool, now: datetime) -> list[str]:
    saved_settings = _read_settings(file)
    site, is_new = _settle_site(config, saved_settings)
    said = bring_back(site, file, replace, now)
    return [*said, *_settle_settings(site.settings_file, saved_settings, is_new)]


def bring_back(site: Site, file: Path, replace: bool, now: datetime) -> list[str]:
    """Everything of the backup but its settings is in force; what to tell about it. Raises BackupError."""
    root = site.paths.root
    with ExitStack() as stack:
        with ending_in(UNCHANGED, root):
            stack.enter_context(_alone(site))
            staged = stack.enter_context(private_folder(root, "restore"))
            (staged / "links").mkdir(mode=0o700)
            manifest = unpack(file, staged)
            databases = find_databases(site)
            _check_kinds(databases, manifest)
            check_jobs(site, manifest.instance, staged)
            _check_nothing_lost(site, databases, manifest, replace)
            swap = Swap(site, databases, staged, manifest, now)
            swap.keep_databases()
        return swap.put_back()


def _read_settings(file: Path) -> bytes | None:
    with ending_in(UNCHANGED, file.parent):
        return read_member(file, SETTINGS)


def _settle_site(config: Path | None, saved: bytes | None) -> tuple[Site, bool]:
    """The installation to restore, and whether its settings come from the backup. Raises SettingsError."""
    file = find_settings_file(config, os.environ, Path.cwd()) or Path.cwd() / DEFAULT_NAME
    if file.exists() or saved is None:
        return load_site(config), False
    read = parse_settings(saved, shown_as(file, Path.cwd()), file.parent, os.environ)
    settings = complete(read, detect_machine())
    refused = refusals(settings)
    if refused:
        raise SettingsError(refused)
    return Site(settings, file), True


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Nobody serves this installation, nor begins to meanwhile."""
    run = site.paths.run
    for folder in (site.paths.root, run):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(run / "up.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        running = [name for name in ("up", "proxy", "hub", "service") if is_running(run, name)]
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = running or ["up"]
        if running:
            raise BackupError(f"Sampan runs here ({', '.join(running)}): end it with `sampan down`; jobs run on.")
        yield
    finally:
        os.close(lock)


def _check_kinds(databases: tuple[Database, ...], manifest: Manifest) -> None:
    for database in databases:
        saved = manifest.database(database.name)
        if saved != database.member:
            kinds = {True: "SQLite", False: "PostgreSQL"}
            raise BackupError(
                f"The backup holds {saved}, and `{database.key}` names {kinds[database.is_sqlite]} here: set it to "
                f"{kinds[saved.endswith('.sqlite')]} as it was."
            )


def _check_nothing_lost(site: Site, databases: tuple[Database, ...], manifest: Manifest, replace: bool) -> None:
    if replace:
        return
    existing = [database for database in databases if database.exists()]
    if not existing and not site.paths.instance.exists():
        return
    text = f"There is a state in {site.paths.root} already"
    times = [_last_change(database) for database in existing if database.is_sqlite]
    if times:
        newest = max(times)
        relation = "after" if newest > manifest.created_at else "before"
        text += f", last changed {newest:%Y-%m-%d %H:%M} UTC, {relation} this backup was made"
    raise BackupError(f"{text}: --replace puts the backup in its place and keeps it beside.")


def _last_change(database: Database) -> datetime:
    files = [database.file, database.file.with_name(f"{database.file.name}-wal")]
    return max(datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in files if file.exists())


def _settle_settings(file: Path | None, saved: bytes | None, is_new: bool) -> list[str]:
    """Settings of the backup where there are none, else beside those that are here; what to tell about it."""
    if file is None or saved is None or (not is_new and file.read_bytes() == saved):
        return []
    target = file if is_new else file.with_name(f"{file.name}.restored")
    target.unlink(missing_ok=True)
    create_whole(target, saved)
    if is_new:
        return [f"settings: {file}"]
    return [f"{file} stays in force and differs from the backup's, which lies beside it as {target.name}"]
