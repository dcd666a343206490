"""A backup for the hub's side: laid beside its state while all runs, put in place before the next start.

A container that ends is started again, so there is no moment in which somebody could restore by hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from sampan_hub.cli.archive.manifest import BackupError
from sampan_hub.cli.archive.packing import ending_in, private_folder, unpack
from sampan_hub.cli.restore import UNCHANGED, bring_back
from sampan_hub.cli.supervise.prepare import CannotStart
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.keyfiles import KEY_FILES
from sampan_hub.trust.keyring import OWN_AUTHORITIES, entry_authority

CHUNK_BYTES = 1 << 20


def waiting_file(site: Site) -> Path:
    """The backup that the next start is to restore."""
    return site.paths.root / "restore.tar"


def lay_down(site: Site, source: IO[bytes]) -> str:
    """The backup, checked, waits whole for the next start; says of when it is. Raises BackupError, nothing changed."""
    root = site.paths.root
    with ending_in(UNCHANGED, root), private_folder(root, "restoring") as folder:
        draft = folder / "backup.tar"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
        members = folder / "members"
        members.mkdir(mode=0o700)
        manifest = unpack(draft, members)
        differing = sorted(_differing(site, members))
        if differing:
            raise BackupError(
                f"This installation has other keys than the backup ({', '.join(differing)}): install it anew, with the "
                f"Secret that `sampan kubernetes keys --print --backup FILE` prints in place before."
            )
        draft.replace(waiting_file(site))
    return f"installation {manifest.instance} as of {manifest.created_at:%Y-%m-%d %H:%M} UTC"


def restore_waiting(site: Site, now: datetime) -> list[str]:
    """What waits is in force, and waits no more; what to tell about it. Raises CannotStart.

    What cannot be restored is put aside, so that the start after this one goes on with what is there.
    """
    file = waiting_file(site)
    if not file.exists():
        return []
    try:
        said = bring_back(site, file, True, now)
    except BackupError as error:
        aside = file.with_name("restore.refused.tar")
        file.replace(aside)
        raise CannotStart(f"{error} The backup is kept as {aside}; the next start goes on without it.") from error
    file.unlink()
    return said


def _differing(site: Site, members: Path) -> Iterator[str]:
    """Secrets that the cluster holds otherwise: it would put its own back at every start."""
    stems = [kind.stem for kind in (entry_authority(""), *OWN_AUTHORITIES)]
    names = [*(f"keys/{name}" for name in KEY_FILES), *(f"tls/{stem}.key" for stem in stems)]
    for name in names:
        saved, here = members / name, site.paths.root / name
        if not saved.exists() or not here.exists() or saved.read_bytes().strip() != here.read_bytes().strip():
            yield Path(name).name
