"""A whole Sampan of its own for one test: `sampan up` on a free port with a state folder in a temporary place."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPAN = Path(sys.executable).parent / "sampan"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The first true value of `condition`, asked every 50 ms; TimeoutError names what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.05)
    return value


def _private_environment(folder: Path) -> str:
    """The user environment, with what Jupyter would keep in the home of whoever runs the tests kept in `folder`."""
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython"}
    variables = "".join(f"      {name}: {folder / place}\n" for name, place in places.items())
    prefix = Path(sys.prefix) / "user"
    return f"environments:\n  default:\n    prefix: {prefix}\n    variables:\n{variables}"


class Installation:
    """`folder` holds sampan.yaml, the state folder and what `sampan up` printed (up.txt)."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = folder / ".sampan"
        self.printed = folder / "up.txt"
        self.up: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sampan.yaml").write_text(
            f"url: {self.url}/\nstate_dir: .sampan\n{_private_environment(folder)}{settings}"
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SAMPAN_CONFIG": str(self.folder / "sampan.yaml")}

    @property
    def instance(self) -> str:
        return (self.state / "instance").read_text().strip()

    def start(self, timeout_s: float = 60) -> None:
        """Run `sampan up` and wait until it printed its link."""
        seen = self.printed.stat().st_size if self.printed.exists() else 0
        with self.printed.open("ab") as output:
            self.up = subprocess.Popen(
                [SAMPAN, "up"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: self._is_up(seen), timeout_s, f"sampan up; it printed:\n{self.printed.read_text()}")

    def _is_up(self, seen: int) -> bool:
        text = self.printed.read_bytes()[seen:]
        if b"token=" in text:
            return True
        if self.up is not None and self.up.poll() is not None:
            raise RuntimeError(f"sampan up ended with {self.up.returncode}:\n{text.decode()}")
        return False

    def run(self, *words: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Another `sampan` command on the same installation."""
        return subprocess.run(
            [SAMPAN, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout_s,
        )

    def wait_for_fork_servers(self, count: int = 2, timeout_s: float = 120) -> None:
        """Until those for notebooks and workers have imported everything: people come minutes after `sampan up`."""
        log = self.state / "log" / "service.log"
        ready = re.compile("fork server [0-9]+ is ready")
        wait_until(lambda: len(ready.findall(log.read_text())) >= count, timeout_s, f"{count} fork servers are ready")

    def token(self, name: str) -> str:
        return self.run("token", name).stdout.strip()

    def process(self, name: str) -> int:
        """The pid of `proxy`, `hub` or `service` as recorded now."""
        return int(json.loads((self.state / "run" / f"{name}.json").read_text())["pid"])

    def call(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        """One request; the status and the decoded body (None when it is not JSON)."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        try:
            return status, json.loads(content)
        except ValueError:
            return status, None

    def stop(self, timeout_s: float = 60) -> None:
        """End everything it started, jobs too."""
        try:
            self.run("down", "--jobs", check=False, timeout_s=timeout_s)
        finally:
            if self.up is not None and self.up.poll() is None:
                self.up.send_signal(signal.SIGTERM)
                try:
                    self.up.wait(20)
                except subprocess.TimeoutExpired:
                    self.up.kill()
                    self.up.wait()
