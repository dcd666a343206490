"""Where hub and service say that they live and can work: left by `sampan run` for whoever looks from time to time.

Standard library alone: who looks every few seconds should not import the settings.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan_hub.cli.supervise.commands import Command
    from sampan_hub.cli.supervise.site import Site

LOOPBACK = "127.0.0.1"
ASK_TIMEOUT_S = 5.0
READY_PATHS = {"service": "services/sampan/readyz"}
"""Who can say that it works, besides that it lives; below the path that people come in by."""


def leave_health(site: Site, command: Command) -> None:
    """The file `run/<name>.health`; none for who cannot be asked without a certificate."""
    if not command.ready_port:
        return
    ready = site.base_path + READY_PATHS[command.name] if command.name in READY_PATHS else command.ready_path
    draft = health_file(site.paths.run, f".{command.name}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"port": command.ready_port, "alive": command.ready_path, "ready": ready}))
    draft.replace(health_file(site.paths.run, command.name))


def health_file(run: Path, name: str) -> Path:
    """Where the question is kept that `ask_health` asks."""
    return run / f"{name}.health"


def ask_health(file: Path, question: str) -> str | None:
    """What is wrong by the answer to `alive` or `ready`; None when all is well."""
    try:
        kept = json.loads(file.read_text())
        connection = http.client.HTTPConnection(LOOPBACK, kept["port"], timeout=ASK_TIMEOUT_S)
        connection.request("GET", kept[question])
        answer = connection.getresponse()
        text = answer.read(500).decode(errors="replace")
        connection.close()
    except FileNotFoundError:
        return f"{file} is not there: it was not started yet"
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return f"it does not answer: {error or type(error).__name__}"
    return None if answer.status == http.client.OK else f"it answers {answer.status}: {text}"
