"""The state folder: private, writable, with room, one installation's own; and the settings file's own mode."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.keyfiles import KEY_FILES, KeyFileError, read_key
from sampan_hub.settings.paths import StatePaths
from sampan_hub.settings.references import holds_plain_secret
from sampan_hub.settings.yamlfile import parse_document

LEAST_FREE_BYTES = 1 << 30
LEAST_FREE_INODES = 10_000
CLOCK_SLACK_S = 60.0


def check_settings_file(file: Path | None) -> Iterator[Trouble]:
    """A file with passwords written out in it is for its owner alone."""
    if file is None or not file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return
    if holds_plain_secret(parse_document(file.read_bytes(), str(file)).tree, ()):
        remedy = f"run `chmod 600 {file}`, or write {{file: PATH}} or {{env: NAME}} in its place"
        yield Trouble(f"{file} has a secret written out in it, and others can read it", remedy)


def check_state_folder(paths: StatePaths) -> Iterator[Trouble]:
    """Exists, belongs to us, can be entered by nobody else, can be written."""
    root = paths.root
    try:
        status = root.stat()
    except FileNotFoundError:
        yield Trouble(f"{root} does not exist: Sampan was not started yet", "run `sampan up`")
        return
    except OSError as error:
        yield Trouble(f"{root} cannot be looked at: {error.strerror}", "set `state_dir` to a folder of your own")
        return
    if status.st_uid != os.geteuid():
        yield Trouble(f"{root} belongs to another user (uid {status.st_uid})", "run sampan as that user")
        return
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        yield Trouble(f"{root} cannot be read and written", f"run `chmod 700 {root}`, or mount its disk writable")
        return
    for folder in (root, paths.keys, paths.run, paths.log, paths.links, paths.jobs):
        if folder.exists() and folder.stat().st_mode & 0o077:
            yield Trouble(f"{folder} can be entered by others", f"run `chmod 700 {folder}`")
    yield from _room(root)


def is_ours_to_read(paths: StatePaths) -> bool:
    """Whether the other checks can look into the state folder at all."""
    root = paths.root
    return root.is_dir() and root.stat().st_uid == os.geteuid() and os.access(root, os.R_OK | os.X_OK)


def _room(root: Path) -> Iterator[Trouble]:
    disk = shutil.disk_usage(root)
    free = disk.free
    if free < min(LEAST_FREE_BYTES, disk.total // 10):  # a volume of its own may be small altogether
        yield Trouble(f"only {free >> 20} MiB are free on the disk of {root}", "make room, or move `state_dir`")
    inodes = os.statvfs(root)
    if inodes.f_files and inodes.f_favail < LEAST_FREE_INODES:
        yield Trouble(
            f"only {inodes.f_favail} more files fit on the disk of {root}", "remove files, or move `state_dir`"
        )


def check_key_files(paths: StatePaths) -> Iterator[Trouble]:
    """Every key is there, whole and private."""
    if not paths.keys.exists():
        return
    for name in KEY_FILES:
        try:
            read_key(paths.key(name))
        except KeyFileError as error:
            text, _, remedy = str(error).partition(": ")
            yield Trouble(text, remedy or "see that this user owns it and can read it")


def check_clock(paths: StatePaths) -> Iterator[Trouble]:
    """Leases, links and logs go by the clock: it must not have been set back under a running installation."""
    now_s = time.time()
    newest_s = max((entry.stat().st_mtime for entry in paths.root.glob("*")), default=now_s)
    if newest_s > now_s + CLOCK_SLACK_S:
        text = f"the clock was set back: files in {paths.root} are {newest_s - now_s:.0f} s from the future"
        yield Trouble(text, "set the clock (`timedatectl set-ntp true`), then restart `sampan up`")


def check_one_installation(site: Site) -> Iterator[Trouble]:
    """The instance id in the folder and in the database agree, so each job is recognised by who started it."""
    paths = site.paths
    if not paths.instance.exists():
        return
    here = paths.instance.read_text().strip()
    stored = None if site.settings.database is not None else _stored_instance(paths.sampan_sqlite)
    if stored is not None and stored != here:
        text = f"{paths.instance} says {here}, but the database belongs to the installation {stored}"
        yield Trouble(text, "put the matching backup back: folder and database belong together")


def _stored_instance(database: Path) -> str | None:
    """What the database says it belongs to; None while there is none that can be read."""
    if not database.exists():
        return None
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            row = connection.execute("SELECT instance FROM site").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])
