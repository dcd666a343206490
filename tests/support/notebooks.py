"""Real `python -m sampan.notebook` processes, each in a folder of its own and ended by its own id."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.installation import wait_until
from tests.support.notebook_service import PERSON_TOKEN, NotebookService, write_bootstrap

USER_PYTHON = Path(__file__).parents[2] / ".venv" / "user" / "bin" / "python"


class Notebook:
    """`folder` holds the job's private folder, a home to work in, and the log."""

    def __init__(self, folder: Path, service_url: str) -> None:
        self.private = folder / "private"
        self.home = folder / "home"
        self.log = folder / "output.log"
        self.home.mkdir(parents=True)
        write_bootstrap(self.private, service_url)
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        environment = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "SAMPAN_JOB_DIR": str(self.private),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [USER_PYTHON, "-m", "sampan.notebook"],
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_reported(self, service: NotebookService, timeout_s: float = 30) -> None:
        """Wait for the first address; the process must live meanwhile."""
        wait_until(lambda: service.address or self.ended, timeout_s, "the notebook reports its address")
        assert service.address is not None, self.output
        self.port = service.address[1]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/user/ana"

    def wait(self, timeout_s: float = 20) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def call(self, method: str, path: str, body: Any = None, token: str = PERSON_TOKEN) -> tuple[int, bytes]:
        """One request to the server, as ana; redirects are answers here."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"} if token else {},
        )
        opener = urllib.request.build_opener(_KeepRedirects)
        try:
            with opener.open(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def stop(self) -> None:
        """End it and everything that it left in its session."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()


class _KeepRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None
