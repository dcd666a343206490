"""The exchange itself: what is here goes aside, what was saved takes its place."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

from sampan_hub.cli.archive import postgres
from sampan_hub.cli.archive.databases import Database
from sampan_hub.cli.archive.manifest import INSTANCE, PORTS, Manifest
from sampan_hub.cli.archive.packing import ending_in
from sampan_hub.cli.supervise.site import Site
from sampan_hub.jobs.store.tables import metadata

SQLITE_PARTS = ("", "-wal", "-shm", "-journal")


class Swap:
    """One restore. First `keep_databases`, which changes nothing that is in use, then `put_back`."""

    def __init__(
        self, site: Site, databases: tuple[Database, ...], staged: Path, manifest: Manifest, now: datetime
    ) -> None:
        self._site = site
        self._databases = databases
        self._staged = staged
        self._manifest = manifest
        self.kept = site.paths.root / f"before-restore-{now:%Y%m%dT%H%M%S%f}Z"

    def keep_databases(self) -> None:
        """What must be copied to be kept, and may fail, while nothing is changed yet. Raises BackupError, OSError."""
        self.kept.mkdir(mode=0o700)
        try:
            for database in self._databases:
                if not database.is_sqlite and database.exists():
                    database.save(self.kept / database.member)
        except BaseException:
            shutil.rmtree(self.kept)
            raise

    def put_back(self) -> list[str]:
        """Everything of the backup is in force; what to tell about it. Raises BackupError."""
        with ending_in(f"The restore is incomplete: run it again. What was here is kept in {self.kept}.", self.kept):
            self._put_back()
        created_at = f"{self._manifest.created_at:%Y-%m-%d %H:%M} UTC"
        said = [f"restored: installation {self._manifest.instance} as of {created_at}"]
        if any(self.kept.iterdir()):
            return [*said, f"what was here before is kept in {self.kept}"]
        self.kept.rmdir()
        return said

    def _put_back(self) -> None:
        for database in self._databases:  # servers first: they can refuse
            if not database.is_sqlite:
                source = self._staged / database.member
                postgres.restore(database.url, source, database.shown, _tables(database.name))
        for database in self._databases:
            if database.is_sqlite:
                self._exchange(database.member, database.file, SQLITE_PARTS)
        paths = self._site.paths
        for name, target in (("keys", paths.keys), ("links", paths.links), (INSTANCE, paths.instance)):
            self._exchange(name, target)
        if (self._staged / "tls").exists():
            self._exchange("tls", paths.tls)
        ports = self._staged / PORTS
        if ports.exists() and not self._site.ports_file.exists():
            # Jobs know the service by its port; where a port is on record here, it is the one newer jobs know.
            shutil.move(ports, self._site.ports_file)

    def _exchange(self, member: str, target: Path, parts: tuple[str, ...] = ("",)) -> None:
        for part in parts:
            old = target.with_name(target.name + part)
            if os.path.lexists(old):
                shutil.move(old, self.kept / (member + part))
        shutil.move(self._staged / member, target)


def _tables(name: str) -> list[str]:
    if name == "sampan":
        return [*metadata.tables, "alembic_version"]
    from jupyterhub.orm import Base  # slow to import, and needed for this alone

    return [*Base.metadata.tables, "alembic_version"]
