"""A way to the API server that a test can close and slow down: what goes through it is not looked at."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Relay:
    """Listens on 127.0.0.1 and passes bytes on, each connection by two threads."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.delay_s = 0.0
        """Added before each piece that is passed on."""
        self.connections = 0
        """How many were taken in all."""
        self.pieces = 0
        """How many pieces of data were passed on, both ways."""
        self.listen()

    def listen(self) -> None:
        """Take connections, from now on; always at the same port."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        with self._lock:
            sockets, self._open = self._open, set()
        for each in sockets:
            _end(each)

    def close(self) -> None:
        """Break every connection and take no more."""
        if self._listener is not None:
            _end(self._listener)
            self._listener = None
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return  # closed
            self.connections += 1
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:
                _end(near)  # nobody is there: whoever asked sees as much
                continue
            far.settimeout(None)
            with self._lock:
                is_open = self._listener is listener
                if is_open:
                    self._open |= {near, far}
            if not is_open:
                _end(near)
                _end(far)
                return
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                if self.delay_s:
                    time.sleep(self.delay_s)
                self.pieces += 1
                sink.sendall(data)
        except OSError:
            pass  # cut: the other direction ends, too
        for each in (source, sink):
            _end(each)
            with self._lock:
                self._open.discard(each)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
