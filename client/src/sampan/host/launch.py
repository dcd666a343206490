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
from sampan.host.forked import SOCKET, Forked, fork_host
from sampan.host.options import Options

START_TIMEOUT_S = 600.0
"""Only against a host that hangs: on a full machine everything takes longer, and what is alive has not failed."""
POLL_S = 0.02
POLL_SHARE = 0.05
"""Of the time that has gone by: whoever waits long for a busy machine does not keep it busy by asking."""
POLL_MOST_S = 0.5


class Fresh:
    """A host started as a program of its own."""

    def __init__(self, folder: Path, directory: str, log: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sampan.host", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            start_new_session=True,  # a kernel's end, even by kill -9 of its group, is not the host's
        )

    def end(self) -> str | None:
        """How it ended; None while it runs."""
        code = self._process.poll()
        return None if code is None else f"with code {code}"

    def terminate(self) -> None:
        self._process.terminate()

    def release(self) -> None:
        """Nobody asks any more; it is reaped whenever it ends."""
        threading.Thread(target=self._process.wait, name="sampan-reap", daemon=True).start()


def start_host(session: Session, options: Options) -> dict[str, Any]:
    """Start a host for these options and return its `host.json` when it is ready. Blocking.

    Raises what the service refused, or `ClusterFailed` with the end of the host's log.
    """
    runtime = rundir.ensure_private(rundir.session_dir(session))
    folder = rundir.ensure_private(rundir.cluster_dir(session, options.name))
    for name in ("host.json", "failed.json", "state.json"):
        (folder / name).unlink(missing_ok=True)
    rundir.write_json(folder / "start.json", options.as_json())
    log = os.open(folder / "host.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        forked = fork_host(runtime / SOCKET, folder, options.folder, log)
        host = forked or Fresh(folder, options.folder, log)
    finally:
        os.close(log)
    try:
        return _await_ready(folder, host)
    finally:
        host.release()


def _await_ready(folder: Path, process: Fresh | Forked) -> dict[str, Any]:
    begun_s = time.monotonic()
    while (waited_s := time.monotonic() - begun_s) < START_TIMEOUT_S:
        host = rundir.live_host(folder)
        if host is not None:
            return host
        ended = process.end()
        failed = rundir.read_json(folder / "failed.json")
        if failed is not None:
            raise read_failure(failed, rundir.tail(folder / "host.log"))
        if ended is not None:
            raise ClusterFailed(
                f"The cluster's host ended {ended} before it was ready; its log ends:",
                rundir.tail(folder / "host.log"),
            )
        time.sleep(min(POLL_MOST_S, max(POLL_S, POLL_SHARE * waited_s)))
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
