"""`sampan kubernetes entry`: comes in as people and jobs do, for `helm test`."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import click

from sampan_hub.cli.supervise import console

PATHS = {"the hub": "hub/health", "the compute service": "services/sampan/readyz"}
ASK_TIMEOUT_S = 10.0
POLL_S = 1.0


@click.command()
@click.argument("url")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The certificate (PEM) of the authority by which to know it. Default: those that the system knows.",
)
@click.option("--wait", "wait_s", type=click.FloatRange(0, 3600), default=60, show_default=True, metavar="SECONDS")
def entry(url: str, ca: Path | None, wait_s: float) -> None:
    """Exit 0 if hub and compute service can work and are reached through the entry at URL."""
    if not url.startswith("https://"):
        raise console.Failure(f"{url} is not https://NAME/")
    trust = ssl.create_default_context(cafile=None if ca is None else str(ca))
    deadline_s = time.monotonic() + wait_s
    for name, path in PATHS.items():
        target = f"{url.rstrip('/')}/{path}"
        wrong = _ask(target, trust)
        while wrong is not None and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            wrong = _ask(target, trust)
        if wrong is not None:
            raise console.Failure(f"{name} at {target}: {wrong}")
        console.say(f"{name} answers at {target}")


def _ask(url: str, trust: ssl.SSLContext) -> str | None:
    """What is wrong; None when all is well."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(url, timeout=ASK_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"it answers {error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"it does not answer: {getattr(error, 'reason', error)}"
