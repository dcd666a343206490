"""The kernel's side of a host: start it detached, wait until it is ready, find it again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan import rundir
from sampan._api import Session
from sampan.errors import ClusterFailed, Refused, SampanError, ServiceUnavailable
from sampan.host.options import Options

START_TIMEOUT_S = 90.0
POLL_S = 0.02


def start_host(session: Session, options: Options) -> dict[str, Any]:
    """Start a host for these options and return its `host.json` when it is ready. Blocking.

    Raises what the service refused, or `ClusterFailed` with the end of the host's log.
    """
    rundir.ensure_private(rundir.session_dir(session))
    folder = rundir.ensure_private(rundir.cluster_dir(session, options.name))
    for name in ("host.json", "failed.json", "state.json"):
        (folder / name).unlink(missing_ok=True)
    rundir.write_json(folder / "start.json", options.as_json())
    log = os.open(folder / "host.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sampan.host", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=options.folder,
            start_new_session=True,  # a kernel's end, even by kill -9 of its group, is not the host's
        )
    finally:
        os.close(log)
    try:
        return _await_ready(folder, process)
    finally:
        threading.Thread(target=process.wait, name="sampan-reap", daemon=True).start()


def _await_ready(folder: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        host = rundir.live_host(folder)
        if host is not None:
            return host
        code = process.poll()
        failed = rundir.read_json(folder / "failed.json")
        if failed is not None:
            raise read_failure(failed, rundir.tail(folder / "host.log"))
        if code is not None:
            raise ClusterFailed(
                f"The cluster's host ended with code {code} before it was ready; its log ends:",
                rundir.tail(folder / "host.log"),
            )
        time.sleep(POLL_S)
    process.terminate()
    raise ClusterFailed(
        f"The cluster's host was not ready after {START_TIMEOUT_S:.0f} s and was stopped; its log ends:",
        rundir.tail(folder / "host.log"),
    )


def read_failure(failed: dict[str, Any], log: list[str]) -> SampanError:
    """The error that the host met, as the kernel raises it."""
    if "problem" in failed:
        return Refused(failed["detail"], **failed["problem"])
    if failed["type"] == ServiceUnavailable.__name__:
        return ServiceUnavailable(failed["detail"])
    return ClusterFailed(f"The cluster's host could not start: {failed['detail']}", log)


def await_end(host: Mapping[str, Any], timeout_s: float) -> bool:
    """Whether the host's process ended within the time."""
    deadline = time.monotonic() + timeout_s
    while rundir.is_alive(host):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
