"""One light installation: the real service on the host, kept running as the kubelet would, and how it is spoken to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.chaos.light import Light
from tests.kube.faults.ground import IMAGE, Ground
from tests.kube.faults.settings import PROGRAM, render_settings
from tests.support.installation import free_port


class PodsLight(Light):
    """`direct`: it asks the API server itself, and not by the way that can be told to misbehave."""

    JOURNAL = "kubernetes-kubernetes.sqlite"

    def __init__(self, ground: Ground, name: str, *, direct: bool) -> None:
        folder = ground.folder / name
        super().__init__(name, f"{ground.entry.url}/{name}", folder / "state", ground.trust, folder / "service.log")
        self.ground, self.folder = ground, folder
        self.environment = "default"
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
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder,
                env={**os.environ, **self.ground.kube.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

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
