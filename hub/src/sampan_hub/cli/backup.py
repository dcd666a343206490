"""`sampan backup FILE`: everything that an installation remembers, in one private file, also while it runs."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click

from sampan_hub.cli.archive.databases import find_databases
from sampan_hub.cli.archive.manifest import INSTANCE, PORTS, SETTINGS, BackupError, Manifest
from sampan_hub.cli.archive.packing import describe_members, ending_in, pack, private_folder
from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.keyfiles import KEY_FILES, read_key

OUTCOME = "No backup was made."


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.pass_obj
def backup(config: Path | None, file: Path) -> None:
    """Save both databases, the keys, the links and the settings in FILE (tar, readable by you alone).

    `-` writes it to the standard output, for a machine or a container that keeps no files.
    Safe while Sampan runs. Not in it: people's own files, the output of jobs, and what the settings refer to by
    `{file: …}` or `{env: …}`.
    """
    site = load_site(config)
    try:
        if str(file) == "-":
            _send(site)
        else:
            manifest = save(site, file.absolute(), datetime.now(UTC))
            size_mb = file.stat().st_size / 1e6
            console.say(f"{file}: installation {manifest.instance}, {len(manifest.members)} files, {size_mb:.1f} MB")
    except BackupError as error:
        raise console.Failure(str(error)) from error


def _send(site: Site) -> None:
    """Made whole in the state folder first: what was sent is complete, or the exit code says that it is not."""
    if sys.stdout.isatty():
        raise BackupError(f"A terminal is no place for a backup: send it into a file (`> backup.tar`). {OUTCOME}")
    with private_folder(site.paths.root, "backup") as folder:
        save(site, folder / "backup.tar", datetime.now(UTC))
        with (folder / "backup.tar").open("rb") as made:
            shutil.copyfileobj(made, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def save(site: Site, target: Path, now: datetime) -> Manifest:
    """Write the backup at `target`, which must not exist; raises BackupError with nothing left behind."""
    with ending_in(OUTCOME, target.parent):
        if not site.paths.instance.exists():
            raise BackupError(f"Nothing to save: {site.paths.root} has never served; --config names other settings.")
        _check_free(target)
        with private_folder(target.parent, target.name) as draft:
            folder = draft / "members"
            folder.mkdir(mode=0o700)
            _collect(site, folder)
            instance = (folder / INSTANCE).read_text().strip()
            manifest = Manifest(version("sampan-hub"), instance, now, describe_members(folder))
            pack(folder, manifest, draft / "backup.tar")
            _check_free(target)
            (draft / "backup.tar").rename(target)
    return manifest


def _check_free(target: Path) -> None:
    if not target.parent.is_dir():
        raise BackupError(f"There is no folder {target.parent}: make it, or name another.")
    if os.path.lexists(target):
        raise BackupError(f"{target} exists: name another file.")


def _collect(site: Site, folder: Path) -> None:
    paths = site.paths
    for database in find_databases(site):
        if not database.exists():
            raise BackupError(f"{database.shown} is missing: run `sampan up` once.")
        database.save(folder / database.member)
    shutil.copyfile(paths.instance, folder / INSTANCE)
    for name in ("keys", "links", "tls"):
        (folder / name).mkdir(mode=0o700)
    for name in KEY_FILES:
        (folder / "keys" / name).write_bytes(read_key(paths.key(name)) + b"\n")
    for link in paths.links.glob("*.json"):
        _copy_if_there(link, folder / "links" / link.name)
    for part in paths.tls.glob("[a-z]*"):
        _copy_if_there(part, folder / "tls" / part.name)
    _copy_if_there(site.ports_file, folder / PORTS)
    if site.settings_file is not None:
        shutil.copyfile(site.settings_file, folder / SETTINGS)


def _copy_if_there(source: Path, target: Path) -> None:
    """Links are spent at any moment."""
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        return
