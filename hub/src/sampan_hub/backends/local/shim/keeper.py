"""Watch one job from its start to the end of the last process it left behind."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import signal
import time
from pathlib import Path
from typing import Any

from . import child, files, procfs
from .ending import Ending, describe_end
from .group import Group
from .output import Output

COMMAND = b"sampan-shim"
"""What `ps` shows of a keeper, and what tells one keeper's processes from another's."""
LEFT_BEHIND_GRACE_S = 2.0
KILL_AGAIN_S = 0.5
LOOK_FOR_CANCEL_S = 5.0
PIPE_BYTES = 1 << 20
CHUNK_BYTES = 1 << 18

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_F_SETPIPE_SZ = 1031


def become_keeper() -> None:
    """Own session; every orphan below becomes this process's child, so that none can leave the tree."""
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not let this process keep its descendants")
    libc.prctl(_PR_SET_NAME, COMMAND, 0, 0, 0)


class Keeper:
    """One job. `start` returns once the start is on record; `watch` returns once nothing of the job runs."""

    def __init__(self, folder: Path, spec: dict[str, Any], *, is_forked: bool = False) -> None:
        """`is_forked`: the job becomes its program by `Become`, out of this very call, instead of an exec."""
        self._is_forked = is_forked
        self._folder = folder
        self._spec = spec
        self._group = Group(spec.get("cgroup"), spec["memory_bytes"])
        self._output = Output(folder)
        self._wakeup, wakeup_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        self._asked_to_end = False
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        self._started: child.Started
        self._status: int | None = None
        self._failure = ""
        self._stopping = False
        self._kill_at: float | None = None
        self._poll = select.poll()

    def _on_term(self, *_: object) -> None:
        self._asked_to_end = True

    def start(self) -> None:
        """Start the job, once, with its start on record before its program is. Raises OSError with nothing running."""
        files.reserve_end(self._folder)
        self._group.make()
        self._started = started = child.fork_child(self._spec, is_forked=self._is_forked)
        process = procfs.read_stat(started.pid)
        keeper = procfs.read_stat(os.getpid())
        if process is None or keeper is None:
            raise OSError("/proc does not show the processes of this machine")
        record = {
            "pid": started.pid,
            "start_ticks": process.process.start_ticks,
            "pgid": started.pid,
            "boot_id": procfs.boot_id(),
            "keeper_pid": os.getpid(),
            "keeper_start_ticks": keeper.process.start_ticks,
            "cgroup": self._group.path,
            "at": time.time(),
        }
        files.write_record(self._folder / files.STARTED, record)
        if not self._is_cancelled():  # asked after the record: who cancels writes first and reads the record then
            os.write(started.gate, child.GO)
        os.close(started.gate)
        with os.fdopen(started.failure, "rb") as failure:
            self._failure = failure.read().decode("utf-8", "replace")
        self._listen()

    def _listen(self) -> None:
        os.set_blocking(self._started.output, False)
        with contextlib.suppress(OSError):  # over the user's share of pipe memory: the usual size does
            fcntl.fcntl(self._started.output, _F_SETPIPE_SZ, PIPE_BYTES)
        self._poll.register(self._started.output, select.POLLIN)
        self._poll.register(self._wakeup, select.POLLIN)

    def watch(self) -> Ending:
        """Until the last descendant is gone; then what is known of the end."""
        while self._reap():
            if self._status is not None:
                self._stop(LEFT_BEHIND_GRACE_S)
            elif self._asked_to_end or self._is_cancelled():
                self._stop(float(self._spec["grace_s"]))
            self._kill_if_late()
            self._wait()
            self._pump()
        self._pump()
        out_of_memory = self._group.close()
        return describe_end(
            status=self._status,
            cancelled=self._is_cancelled(),
            terminated=self._asked_to_end,
            failure=self._failure,
            out_of_memory=out_of_memory,
            peak_memory_bytes=self._group.peak_memory_bytes
            or resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        )

    def _is_cancelled(self) -> bool:
        return (self._folder / files.CANCEL).exists()

    def _reap(self) -> bool:
        """Whether anything is left below. As their reaper this process hears of every end, and none can hide."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._started.pid:
                    self._status = status
        except ChildProcessError:
            return False

    def _wait(self) -> None:
        until_kill = LOOK_FOR_CANCEL_S if self._kill_at is None else self._kill_at - time.monotonic()
        for descriptor, event in self._poll.poll(max(0.0, min(LOOK_FOR_CANCEL_S, until_kill)) * 1000):
            if descriptor == self._wakeup:
                os.read(self._wakeup, 4096)
            elif not event & select.POLLIN:
                self._poll.unregister(descriptor)  # everybody closed it

    def _pump(self) -> None:
        """Take what was said, one bounded helping: a flood must not keep a stop waiting."""
        for _ in range(16):
            try:
                content = os.read(self._started.output, CHUNK_BYTES)
            except BlockingIOError:
                return
            if not content:
                return
            self._output.write(content)

    def _stop(self, grace_s: float) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._kill_at = time.monotonic() + grace_s
        self._signal_tree(signal.SIGTERM)
        self._signal_tree(signal.SIGCONT)  # who is stopped cannot end by itself

    def _kill_if_late(self) -> None:
        if self._kill_at is None or time.monotonic() < self._kill_at:
            return
        self._kill_at = time.monotonic() + KILL_AGAIN_S
        self._group.kill()
        self._signal_tree(signal.SIGSTOP)  # first hold them all, so that none forks out of this pass
        self._signal_tree(signal.SIGKILL)

    def _signal_tree(self, number: int) -> None:
        for process in procfs.descendants(os.getpid()):
            try:
                procfs.send_signal(process, number)
            except PermissionError:
                continue  # it took another uid: it stays in the tree, and the job is not over before it ends
