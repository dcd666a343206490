"""The service as a process: lean, quick to end, quiet about secrets, and nothing dies with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.keyfiles import read_key
from tests.contract.api_site import API, BASE, free_port

MOST_RSS_BYTES = 120 * 2**20


class Process:
    """One `python -m sampan_hub.service` with the fake backend."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "service.log"
        config = folder / "sampan.yaml"
        if not config.exists():
            config.write_text("backends:\n  fake:\n    kind: fake\nsizes:\n  small: {cores: 1, memory: 1G}\n")
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "sampan_hub.service",
                    "--port",
                    str(self.port),
                    "--config",
                    str(config),
                    *options,
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def get(self, path: str, credential: str | None = None, timeout_s: float = 10) -> tuple[int, Any]:
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urlopen(request, timeout=timeout_s) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            assert self.popen.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                if self.get(f"{BASE}/readyz")[0] == 200:
                    return
            except OSError:
                pass  # not listening yet
            time.sleep(0.05)

    @property
    def admin(self) -> str:
        return make_credential(read_key(self.folder / ".sampan" / "keys" / "service.key"), "cli", "admin")

    def end(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(20)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.wait_ready()
    yield process
    if process.popen.poll() is None:
        process.popen.kill()
        process.popen.wait()


def test_it_is_lean_and_listens_on_this_machine_alone(service: Process) -> None:
    process = psutil.Process(service.popen.pid)
    listening = {connection.laddr for connection in process.net_connections() if connection.status == "LISTEN"}
    assert {(address.ip, address.port) for address in listening} == {("127.0.0.1", service.port)}
    for _ in range(50):
        assert service.get(f"{API}/offers?owner=ana", service.admin)[0] == 200
    assert process.memory_info().rss < MOST_RSS_BYTES


def test_it_imports_neither_dask_nor_the_hub() -> None:
    program = (
        "import sys, sampan_hub.service.__main__\n"
        "heavy = {'dask', 'distributed', 'jupyterhub', 'tornado', 'numpy', 'sampan'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_it_ends_at_once_though_somebody_waits(service: Process) -> None:
    revision = service.get(f"{API}/jobs", service.admin)[1]["revision"]
    url = f"http://127.0.0.1:{service.port}{API}/jobs?revision={revision}&wait=60"
    waiting = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, urllib.request as r; print(r.urlopen(r.Request(sys.argv[1], "
            "headers={'Authorization': 'Bearer ' + sys.stdin.read()})).status)",
            url,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdin is not None
    waiting.stdin.write(service.admin)
    waiting.stdin.close()
    deadline = time.monotonic() + 15
    while not _has_connection(service):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begun = time.monotonic()
    assert service.end() == 0, service.log.read_text()
    assert time.monotonic() - begun < 4
    assert waiting.stdout is not None
    assert waiting.stdout.read().strip() == "200"
    waiting.stdout.close()
    assert waiting.wait(10) == 0


def test_a_taken_port_ends_it_with_a_sentence(service: Process, tmp_path: Path) -> None:
    other = subprocess.run(
        [sys.executable, "-m", "sampan_hub.service", "--port", str(service.port), "--config", "sampan.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert other.returncode == 1
    assert other.stderr.count("\n") == 1
    assert f"127.0.0.1:{service.port} cannot be listened on" in other.stderr
    assert "Traceback" not in other.stderr


def test_wrong_settings_end_it_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "sampan.yaml").write_text("sizes:\n  small: {cores: 1, memory: lots}\n")
    shown = subprocess.run(
        [sys.executable, "-m", "sampan_hub.service", "--port", str(free_port())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SAMPAN_CONFIG": "sampan.yaml"},
    )
    assert shown.returncode == 1
    assert "sampan.yaml:2:" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_its_json_log_holds_no_secret_and_no_query(tmp_path: Path) -> None:
    service = Process(tmp_path, "--log-format", "json")
    try:
        service.wait_ready()
        service.get(f"{API}/jobs?owner=somebody-private", service.admin)
        assert service.end() == 0
    finally:
        if service.popen.poll() is None:
            service.popen.kill()
            service.popen.wait()
    text = service.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert any(line.get("path") == f"{API}/jobs" and line["status"] == 200 for line in lines)
    keys = [read_key(path).decode() for path in (tmp_path / ".sampan" / "keys").iterdir()]
    for secret in ("somebody-private", service.admin, *keys):
        assert secret not in text


def _has_connection(service: Process) -> bool:
    connections = psutil.Process(service.popen.pid).net_connections()
    return any(connection.status == "ESTABLISHED" for connection in connections)
