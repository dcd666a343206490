"""`sampan kubernetes leave`: what `helm uninstall` does first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from sampan_hub.cli.kubernetes.https import EntryClient, NoAnswer
from sampan_hub.cli.supervise import console
from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.keyfiles import KeyFileError

API = "services/sampan/api/v1"
REASON = "Sampan is being uninstalled"
FEED_WAIT_S = 2
STAYS = """What people made stays:
  homes and project folders   kubectl get pvc --selector sampan.io/managed=true
  logs of ended jobs, links   the claim sampan-state
  databases                   the claim data-postgresql-0, where the chart's PostgreSQL was used
  keys                        the secret sampan-keys
An installation in the same namespace finds all of it again."""


@click.command()
@click.argument("url")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option(
    "--key",
    "key_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The key of the service's credentials, as mounted from the Secret.",
)
@click.option("--wait", "wait_s", type=click.FloatRange(1, 3600), default=90, show_default=True, metavar="SECONDS")
def leave(url: str, ca: Path | None, key_file: Path, wait_s: float) -> None:
    """Stop every job of the installation at URL, and say what stays when it is gone.

    A service that does not answer keeps nobody from leaving: then it says how to stop what runs.
    """
    credential = make_credential(_read(key_file), "cli", "admin")
    client = EntryClient(url, ca, {"Authorization": f"Bearer {credential}"})
    try:
        left = _stop_all(client, time.monotonic() + wait_s)
    except NoAnswer as error:
        console.say(f"The compute service was not asked to stop anything: {error}")
        left = None
    if left is None or left:
        console.say("What still runs is stopped by: kubectl delete pods --selector sampan.io/managed=true")
    else:
        console.say("No job runs any more.")
    console.say(STAYS)


def _read(file: Path) -> bytes:
    content = file.read_bytes().strip()
    if not content:
        raise KeyFileError(f"{file} is empty: it has to be `service.key` of the installation")
    return content


def _stop_all(client: EntryClient, deadline_s: float) -> list[str]:
    """The ids of what has not ended in time; raises NoAnswer."""
    query = ""
    while True:
        answer: dict[str, Any] = client.ask("GET", f"{API}/jobs{query}")
        left = [job["id"] for job in answer["jobs"] if job["state"] != "ended"]
        if not left or time.monotonic() > deadline_s:
            return left
        client.ask("POST", f"{API}/jobs/stop", {"ids": left, "reason": REASON})
        query = f"?revision={answer['revision']}&wait={FEED_WAIT_S}"
