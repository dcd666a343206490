"""The real service over a backend whose jobs only pretend, and tell the bench through a socket that they have begun."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from sampan_hub.backends.base import Backend, Identity
from sampan_hub.backends.fake import FakeBackend, Pretended
from sampan_hub.jobs.model import RunIdentity
from sampan_hub.service.logs import configure_logs
from sampan_hub.service.server import Server, bind
from sampan_hub.service.start import make_context
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths


def mock_run(job_id: str) -> str:
    """The run identity of the one process that a mock job ever has; the bench knows it without asking."""
    return f"mock-{job_id}"


class TellingBackend(FakeBackend):
    """Jobs that pretend, of whom the bench plays the processes."""

    def __init__(self, name: str, teller: socket.socket) -> None:
        super().__init__(name)
        self._teller = teller

    def _begin(self, identity: Identity) -> None:
        run = RunIdentity(mock_run(identity.job_id))
        self._jobs[identity.job_id] = Pretended(identity, run, self._clock())
        self._teller.send(json.dumps([identity.job_id, identity.batch, identity.kind]).encode())

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:
        """All of them share the bench's one listener."""
        return job_id in self.running()


def main(port: int, teller_path: str) -> int:
    """Serve until told to end."""
    configure_logs(as_json=False)
    teller = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    teller.connect(teller_path)

    def make_backends(_settings: Settings, _paths: StatePaths, _instance: str) -> Mapping[str, Backend]:
        return {"fake": TellingBackend("fake", teller)}

    settings = effective_settings(Path(os.environ["SAMPAN_CONFIG"]))
    listener = bind(port)
    return Server(make_context(settings, port, backends_maker=make_backends), port).serve_until_told(listener)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
