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
from sampan_hub.cli.kubernetes.secret import ensure_keys, make_secret
from sampan_hub.cli.supervise import console
from sampan_hub.settings.access import AccessError, find_access
from sampan_hub.trust.keyring import make_missing


@click.command()
@click.option("--secret", default="sampan-keys", show_default=True, metavar="NAME", help="The Secret that holds them.")
@click.option("--trial-database", metavar="HOST", help="Make the password of the trial database at HOST, too.")
@click.option("--print", "prints", is_flag=True, help="Print a new Secret instead, to apply before the installation.")
@click.option("--namespace", metavar="NAME", help="The installation's namespace. Default: that of this pod.")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="How to reach the cluster from outside. Default: as this pod.",
)
def keys(secret: str, trial_database: str | None, prints: bool, namespace: str | None, kubeconfig: Path | None) -> None:
    """Make the installation's keys in the cluster if they are not there; add what this version needs besides.

    What is there never changes: an upgrade logs nobody out.
    """
    now = datetime.now(UTC)
    if prints:
        contents = make_missing({}, namespace or "this cluster", now, trial_database)
        click.echo(json.dumps(make_secret(secret, contents), indent=2))
        return
    try:
        added = asyncio.run(_ensure(kubeconfig, namespace, secret, now, trial_database))
    except (AccessError, BackendError) as error:
        raise console.Failure(str(error)) from error
    console.say(f"made in the Secret {secret}: {', '.join(added)}" if added else f"the Secret {secret} has all keys")


async def _ensure(
    kubeconfig: Path | None, namespace: str | None, secret: str, now: datetime, trial_database: str | None
) -> list[str]:
    access = find_access(kubeconfig, os.environ)
    client = KubeClient(access if namespace is None else replace(access, namespace=namespace))
    try:
        return await ensure_keys(client, secret, now, trial_database)
    finally:
        await client.close()
