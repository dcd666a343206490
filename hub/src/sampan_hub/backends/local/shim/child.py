"""From a fork to the job's program: a clean process, started only on the keeper's word."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .becoming import Become

OPEN_FILES = 65_536
GO = b"g"


@dataclass(frozen=True)
class Started:
    """A forked child that waits at its gate. `gate`: write GO to let it run, close it to let it vanish."""

    pid: int
    gate: int
    failure: int
    """Says why the program could not be started; ends empty when it was."""
    output: int


def fork_child(spec: dict[str, Any], *, is_forked: bool) -> Started:
    """A process of its own session that becomes the job when told so. It vanishes if the keeper dies before.

    It becomes the job by an exec, or, when `is_forked`, by raising `Become` here.
    """
    gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
    failure_read, failure_write = os.pipe2(os.O_CLOEXEC)
    output_read, output_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(gate_write)  # or the end of the keeper would not be seen
        _settle_when_told(spec, gate_read, failure_write, output_write, is_forked=is_forked)
        raise Become(spec)
    for descriptor in (gate_read, failure_write, output_write):
        os.close(descriptor)
    return Started(pid, gate_write, failure_read, output_read)


def _settle_when_told(spec: dict[str, Any], gate: int, failure: int, output: int, *, is_forked: bool) -> None:
    """Returns only when `is_forked` and all went well: nothing may unwind into the keeper's frames from here."""
    try:
        os.setsid()
        if os.read(gate, 1) != GO:
            os._exit(127)
        _settle(spec, output)
        if not is_forked:
            os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606  (this is what a keeper is for)
    except OSError as error:
        os.write(failure, f"{error.strerror}: {error.filename or spec['argv'][0]}".encode())
        os._exit(127)
    except BaseException:  # noqa: BLE001  (nothing may unwind into the keeper)
        os._exit(127)


def _settle(spec: dict[str, Any], output: int) -> None:
    """Everything the program inherits: nothing of the keeper's but its uid."""
    raise_oom_score(int(spec["oom_score_adj"]))
    if spec.get("cgroup"):
        (Path(spec["cgroup"]) / "cgroup.procs").write_text(str(os.getpid()))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, most))
    os.umask(0o077)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(spec["folder"])


def raise_oom_score(score: int) -> None:
    """When memory runs out the kernel takes the highest score first; lowering it would need privileges."""
    path = Path("/proc/self/oom_score_adj")
    if int(path.read_text()) < score:
        path.write_text(str(score))
