"""Jobs that run in this state folder and that a backup's installation could not recognise as its own."""

from __future__ import annotations

from pathlib import Path

from sampan_hub.backends.base import BackendError, Phase
from sampan_hub.backends.local.listing import Lister
from sampan_hub.cli.archive.manifest import BackupError
from sampan_hub.cli.supervise.site import Site
from sampan_hub.jobs.keys import instance_of
from sampan_hub.settings.keyfiles import read_key

SIGNING = "signing.key"


def check_jobs(site: Site, instance: str, staged: Path) -> None:
    """Every job that runs here carries the backup's installation id and was signed with its key; else BackupError."""
    key = site.paths.key(SIGNING)
    is_same_key = not key.exists() or read_key(key) == read_key(staged / "keys" / SIGNING)
    for found in sorted(_instances(site)):
        running = _count_running(site, found)
        if not running or (found == instance and is_same_key):
            continue
        whose = f"of the installation {found}" if found != instance else "signed with keys that are not the backup's"
        raise BackupError(
            f"{running} jobs run here {whose}, and the backup (installation {instance}) could not recognise them: "
            f"end them with `sampan down --jobs`."
        )


def _roots(site: Site) -> list[Path]:
    return [folder for folder in site.paths.root.glob("jobs*") if folder.is_dir()]


def _instances(site: Site) -> set[str]:
    names = (entry.name for root in _roots(site) for entry in root.iterdir())
    return {instance for name in names if (instance := instance_of(name)) is not None}


def _count_running(site: Site, instance: str) -> int:
    try:
        looks = [Lister(root, instance).look() for root in _roots(site)]
    except BackendError as error:
        raise BackupError(f"{error}: whether jobs run is unknown.") from error
    return sum(job.phase is not Phase.ENDED for look in looks for job in look.jobs)
