"""Serving HTTP until told to end, and ending without touching a job."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import uvicorn
from typing_extensions import override

from sampan_hub.service.app import make_app
from sampan_hub.service.context import Context
from sampan_hub.service.places import HOST, base_path
from sampan_hub.service.start import StartError

KEEP_ALIVE_S = 75
"""Longer than any client of ours keeps an idle connection: who closes first must be the one that sends next, or its
request meets a reset."""
LAST_ANSWERS_S = 5
"""How long requests in progress may take to finish once the service is told to end."""


def bind(port: int) -> socket.socket:
    """A socket on 127.0.0.1 for the service. Raises StartError when somebody has the port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        text = (
            f"{HOST}:{port} cannot be listened on ({error.strerror}): end what listens there, or choose another port."
        )
        raise StartError(text) from error
    return listener


class Server(uvicorn.Server):
    """One service on 127.0.0.1. Feed requests that wait are sent home first, so that ending is quick."""

    def __init__(self, context: Context, port: int) -> None:
        self._revisions = context.revisions
        self.crashed = False
        super().__init__(
            uvicorn.Config(
                make_app(context, base_path(context.settings), self._on_crash),
                host=HOST,
                port=port,
                http="httptools",
                loop="asyncio",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=LAST_ANSWERS_S,
            )
        )

    def end(self) -> None:
        """Begin to end: answer what is asked, take nothing new. From any thread, and from a signal handler."""
        self.should_exit = True
        self._revisions.release()

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT end this process in order, with exit code 0: it was asked to."""
        self.end()

    def serve_until_told(self, listener: socket.socket) -> int:
        """Serve what arrives there; the exit code: 1 when it could not start or something it stands on failed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        self.run(sockets=[listener])
        return int(self.crashed or not self.started)

    def _on_crash(self) -> None:
        self.crashed = True
        self.end()
