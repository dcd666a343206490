"""One light installation: the real service on the host, kept running as the kubelet would, and how it is spoken to."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.asking import Asking
from tests.kube.faults.ground import IMAGE, Ground
from tests.kube.faults.settings import PROGRAM, render_settings
from tests.support.installation import free_port

JOURNAL = "kubernetes-kubernetes.sqlite"


class Light(Asking):
    """`direct`: it asks the API server itself, and not by the way that can be told to misbehave."""

    def __init__(self, ground: Ground, name: str, *, direct: bool) -> None:
        folder = ground.folder / name
        super().__init__(name, f"{ground.entry.url}/{name}", folder / "state", ground.trust)
        self.ground, self.folder = ground, folder
        self.environment = "default"
        self._process: subprocess.Popen[bytes] | None = None
        self._is_held = False
        self._lock = threading.RLock()
        self.folder.mkdir(mode=0o700)
        kubeconfig = folder / "kubeconfig"
        ground.write_kubeconfig(kubeconfig, direct=direct)
        self._settings = folder / "sampan.yaml"
        self._settings.write_text(
            render_settings(
                name=name,
                url=self.url,
                ground=ground.folder,
                namespace=ground.namespace,
                image=IMAGE,
                kubeconfig=kubeconfig,
                host=ground.kube.HOST_IP,
            )
        )

    def make_base(self, owner: str, size: str, fault: str) -> dict[str, Any]:
        base = {"kind": "notebook", "owner": owner, "size": size, "interpreter": PROGRAM, "folder": "/tmp"}
        return {**base, "environment": "missing" if fault == "image" else "default", "env": {"FAULT": fault}}

    # Its process.

    def start(self) -> None:
        port = free_port()
        self._process = self.spawn(port)
        self.ground.entry.routes[self.name] = [port]

    def spawn(self, port: int) -> subprocess.Popen[bytes]:
        """One service on this port of loopback."""
        words = ["-m", "sampan_hub.service", "--port", str(port), "--config", str(self._settings)]
        with (self.folder / "service.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder,
                env={**os.environ, **self.ground.kube.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def revive(self) -> None:
        with self._lock:
            if not self._is_held and (self._process is None or self._process.poll() is not None):
                self.start()

    def kill(self) -> None:
        """kill -9; it is started again by whoever asks it next."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
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

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Its process stands still, as on a machine that is out of breath."""
        self.revive()
        with self._lock:
            assert self._process is not None
            self._process.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        with self._lock:
            self._is_held = True
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                try:
                    self._process.wait(30)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise

    # Its database.

    @property
    def database(self) -> Path:
        return self.state / "sampan.sqlite"

    def back_up(self, copy: Path) -> None:
        """What a backup takes while the service runs."""
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

    def wipe(self, *, journal: bool) -> None:
        """The database is gone; with `journal` what the backend remembers of ended pods, too."""
        for stem in (self.database.name, *([JOURNAL] if journal else [])):
            for suffix in ("", "-wal", "-shm"):
                (self.state / f"{stem}{suffix}").unlink(missing_ok=True)

    def restore(self, copy: Path) -> None:
        self.wipe(journal=False)
        shutil.copyfile(copy, self.database)
        self.database.chmod(0o600)
