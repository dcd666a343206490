"""`sampan kubernetes keys`: what the chart runs before it installs or upgrades anything."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.kubernetes.client import KubeClient
from sampan_hub.cli.archive.manifest import BackupError
from sampan_hub.cli.archive.packing import read_member
from sampan_hub.cli.kubernetes.secret import ensure_keys, make_secret
from sampan_hub.cli.supervise import console
from sampan_hub.settings.access import AccessError, find_access
from sampan_hub.settings.keyfiles import KEY_FILES
from sampan_hub.trust.keyring import OWN_AUTHORITIES, Contents, entry_authority, make_missing


@click.command()
@click.option("--secret", default="sampan-keys", show_default=True, metavar="NAME", help="The Secret that holds them.")
@click.option("--trial-database", metavar="HOST", help="Make the password of the trial database at HOST, too.")
@click.option("--print", "prints", is_flag=True, help="Print a new Secret instead, to apply before the installation.")
@click.option(
    "--backup",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --print: the keys that `sampan backup` saved, for what runs and who is logged in to be known again.",
)
@click.option("--namespace", metavar="NAME", help="The installation's namespace. Default: that of this pod.")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="How to reach the cluster from outside. Default: as this pod.",
)
def keys(
    secret: str,
    trial_database: str | None,
    prints: bool,
    backup: Path | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> None:
    """Make the installation's keys in the cluster if they are not there; add what this version needs besides.

    What is there never changes: an upgrade logs nobody out.
    """
    now = datetime.now(UTC)
    if backup is not None and not prints:
        raise click.UsageError("--backup goes with --print: keys that are in a cluster never change.")
    try:
        if prints:
            saved = read_saved(backup) if backup is not None else {}
            contents = saved | make_missing(saved, namespace or "this cluster", now, trial_database)
            click.echo(json.dumps(make_secret(secret, contents), indent=2))
            return
        added = asyncio.run(_ensure(kubeconfig, namespace, secret, now, trial_database))
    except (AccessError, BackendError, BackupError) as error:
        raise console.Failure(str(error)) from error
    console.say(f"made in the Secret {secret}: {', '.join(added)}" if added else f"the Secret {secret} has all keys")


def read_saved(file: Path) -> Contents:
    """The keys and authorities in a backup; raises BackupError."""
    places = {name: f"keys/{name}" for name in KEY_FILES}
    stems = [kind.stem for kind in (entry_authority(""), *OWN_AUTHORITIES)]
    places |= {name: f"tls/{name}" for stem in stems for name in (f"{stem}.crt", f"{stem}.key")}
    found = {name: read_member(file, place) for name, place in places.items()}
    return {name: content for name, content in found.items() if content is not None}


async def _ensure(
    kubeconfig: Path | None, namespace: str | None, secret: str, now: datetime, trial_database: str | None
) -> list[str]:
    access = find_access(kubeconfig, os.environ)
    client = KubeClient(access if namespace is None else replace(access, namespace=namespace))
    try:
        return await ensure_keys(client, secret, now, trial_database)
    finally:
        await client.close()
