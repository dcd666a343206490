"""From a fork of a pre-imported process to a Python program that looks as if it had been started afresh.

The forked process leaves every frame of the keeper by `Become`, and runs its program from the outermost one.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

VARYING = ("CPU_GUARANTEE", "CPU_LIMIT", "HOME", "MEM_GUARANTEE", "MEM_LIMIT")
VARYING_PREFIXES = ("JUPYTERHUB_", "SAMPAN_")
"""The variables in which jobs of one environment may differ: nothing looks at them before the job runs…"""
FIXED_PREFIXES = ("JUPYTERHUB_SINGLEUSER_", "JUPYTERHUB_XSRF_")
"""…except at these, which decide what JupyterHub's imports define (and at a home with settings: `Program.fits`)."""
FIRST_OWN_DESCRIPTOR = 3
_FIELDS = {"arg": (45, 46), "env": (47, 48)}
"""Of `/proc/self/stat`, counted after the command: where arguments and environment begin and end."""
_PR_SET_NAME = 15
_COMMAND_BYTES = 15


class Become(BaseException):
    """Raised in the forked process alone, when everything outside Python is settled: what is left is to run."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.spec = spec


def shared(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that must be equal in two jobs so that one set of imports serves both: all that are not known."""
    return {name: value for name, value in environment.items() if not _may_vary(name)}


def _may_vary(name: str) -> bool:
    return name in VARYING or (name.startswith(VARYING_PREFIXES) and not name.startswith(FIXED_PREFIXES))


class Program:
    """The one module that this process has imported everything for, under the environment it was started with."""

    def __init__(self, module: str, reads_home: Callable[[str], bool]) -> None:
        """`reads_home`: whether the imports would find anything in this home folder."""
        self.module = module
        self.is_current = True
        self._arguments = Block("arg")
        self._environment = Block("env")
        started_with = self._environment.read_variables()
        self._shared = shared(started_with)
        self._home = started_with.get("HOME", "")
        self._reads_home = reads_home
        self._set_by_imports: dict[str, str | None] = {}

    def note_imports(self) -> None:
        """After the imports: what they put into the environment, a job gets too."""
        before = self._environment.read_variables()
        names = {name for name in {*before, *os.environ} if not _may_vary(name)}
        self._set_by_imports = {
            name: os.environ.get(name) for name in names if before.get(name) != os.environ.get(name)
        }

    def fits(self, spec: Mapping[str, Any]) -> bool:
        """Whether running this job here is the same as starting it afresh. When in doubt: no."""
        argv, environment = spec["argv"], spec["env"]
        return (
            self.is_current
            and argv == [sys.orig_argv[0], "-m", self.module]
            and shared(environment) == self._shared
            and self._fits_home(environment.get("HOME", ""))
            and self._arguments.has_room(_words(argv))
            and self._environment.has_room(_assignments(environment))
        )

    def _fits_home(self, home: str) -> bool:
        return home == self._home or not (self._reads_home(home) or self._reads_home(self._home))

    def run(self, spec: Mapping[str, Any]) -> None:
        """Be that job until it ends; it leaves by SystemExit or returns, as any main program."""
        os.closerange(FIRST_OWN_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(spec["env"])
        self._environment.write(_assignments(spec["env"]))
        self._arguments.write(_words(spec["argv"]))
        for name, value in self._set_by_imports.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _settle_interpreter(spec["argv"])
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)


def _words(argv: list[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in argv)


def _assignments(environment: Mapping[str, str]) -> bytes:
    return _words([f"{name}={value}" for name, value in environment.items()])


def _settle_interpreter(argv: list[str]) -> None:
    """What Python does at its own start, and what must not be the same in two forks."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    command = os.path.basename(argv[0]).encode()[:_COMMAND_BYTES]  # noqa: PTH119  (bytes of a plain name)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, command, 0, 0, 0)
    random = getattr(sys.modules.get("numpy"), "random", None)
    if random is not None:
        random.seed()  # Python's own generators are seeded anew at every fork; numpy's are not
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path.cwd()))
    sys.argv[:] = [argv[0]]
    sys.orig_argv[:] = argv
    package = __name__.partition(".")[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]  # a job may have a package of that name


class Block:
    """The memory in which the kernel shows a process's arguments or environment to others (`ps`, `/proc/<pid>`).

    A fork keeps its parent's; writing into it is all it takes to be seen as what one is. The system's library has
    no use for the old text any more once `os.environ` was cleared and filled anew: then it has copies of its own.
    """

    def __init__(self, name: str) -> None:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        self._start, end = (int(fields[at]) for at in _FIELDS[name])
        self._size_bytes = end - self._start

    def read_variables(self) -> dict[str, str]:
        """The block as it was when this process was started, as an environment."""
        words = (os.fsdecode(word) for word in self._read().split(b"\0"))
        return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}

    def has_room(self, content: bytes) -> bool:
        return 0 < len(content) <= self._size_bytes

    def write(self, content: bytes) -> None:
        """Replace the block; what is left of it becomes zeros."""
        ctypes.memmove(self._start, content.ljust(self._size_bytes, b"\0"), self._size_bytes)

    def _read(self) -> bytes:
        return ctypes.string_at(self._start, self._size_bytes) if self._size_bytes > 0 else b""
