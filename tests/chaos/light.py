"""One light installation: its service, kept running as its site would, and its database."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import ssl
import subprocess
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Protocol

from tests.chaos.asking import Asking

LOOKS_S = 4
"""Within this time an installation has looked at its cluster at least once more."""


class Process(Protocol):
    """A service's, wherever it runs."""

    def poll(self) -> int | None: ...

    def send_signal(self, number: signal.Signals, /) -> None: ...

    def wait(self, timeout: float, /) -> int: ...


class Light(Asking):
    """`log_file`: what its service writes."""

    JOURNAL: ClassVar[str]
    """The file in which its backend remembers."""

    def __init__(self, name: str, url: str, state: Path, trust: ssl.SSLContext, log_file: Path) -> None:
        super().__init__(name, url, state, trust)
        self.log_file = log_file
        self._process: Process | None = None
        self._is_held = False
        self._lock = threading.RLock()

    # Its process.

    @abstractmethod
    def start(self) -> None:
        """Start the service."""

    def revive(self) -> None:
        with self._lock:
            if not self._is_held and not self._is_alive():
                self.start()

    def kill(self) -> None:
        """kill -9; it is started again by whoever asks it next."""
        with self._lock:
            if self._process is not None and self._is_alive():
                self._process.send_signal(signal.SIGKILL)
                self._process.wait(20)

    def while_down(self, change: Callable[[], None]) -> None:
        """kill -9, change something, start."""
        with self._lock:
            self._is_held = True
            try:
                self.kill()
                change()
            finally:
                self._is_held = False
            self.start()

    def end(self) -> None:
        with self._lock:
            self._is_held = True
            if self._process is not None and self._is_alive():
                self._process.send_signal(signal.SIGTERM)
                try:
                    self._process.wait(30)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    # Its database.

    @property
    def database(self) -> Path:
        return self.state / "sampan.sqlite"

    def back_up(self, copy: Path) -> None:
        """What a backup takes while the service runs."""
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

    def wipe(self, *, journal: bool) -> None:
        """The database is gone; with `journal` what the backend remembers, too."""
        for stem in (self.database.name, *([self.JOURNAL] if journal else [])):
            for suffix in ("", "-wal", "-shm"):
                (self.state / f"{stem}{suffix}").unlink(missing_ok=True)

    def restore(self, copy: Path) -> None:
        self.wipe(journal=False)
        shutil.copyfile(copy, self.database)
        self.database.chmod(0o600)
