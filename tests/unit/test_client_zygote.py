"""A notebook's zygote: hosts forked from it are what fresh ones are, and where that is in doubt it forks none."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from sampan import rundir
from sampan.host import forked

NOTEBOOK = """
import sys
sys.path.insert(0, {modules!r})
from sampan.host.freshness import Imports
imports = Imports()
import imported, numpy
imports.complete(())
from sampan.host import zygote
def run(arguments):
    import imported
    return imported.run(arguments)
made = zygote.start(imports, run)
from pathlib import Path
if made is None:
    print("none", flush=True)
else:
    made.listen(Path({folder!r}))
    print("listening", flush=True)
sys.stdin.read()
"""
IMPORTED = """
import json, os, random, signal, sys, time
from pathlib import Path
LOADED = os.getpid()
def run(arguments):
    import numpy
    folder, = arguments
    print(json.dumps({
        "folder": os.getcwd(), "stdin": os.readlink("/proc/self/fd/0"), "umask": os.umask(0o077), "argv": sys.argv,
        "leads": os.getsid(0) == os.getpid(), "files": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
        "environ": dict(os.environ), "path": sys.path, "oom": open("/proc/self/oom_score_adj").read().strip(),
        "shown": open("/proc/self/cmdline").read().split("\\0")[:5], "random": numpy.random.random() + random.random(),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "blocked": [line for line in open("/proc/self/status") if line.startswith(("SigIgn", "SigBlk"))],
        "inherited": LOADED != os.getpid(), "threads": len(os.listdir("/proc/self/task")), "pid": os.getpid(),
    }), flush=True)
    wait = Path(folder, "wait")
    while wait.exists():
        time.sleep(0.01)
    return int(Path(folder, "code").read_text())
"""


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return found


class Rig:
    """A stand-in for a notebook, which imported one small module for its hosts; `work` is a cluster's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules = folder / "modules"
        self.modules.mkdir()
        self.module = self.modules / "imported.py"
        self.module.write_text(IMPORTED)
        self.work = folder / "work"
        self.work.mkdir()
        self.hosts: list[forked.Forked] = []
        self.set(code=0)
        self.forget_pytest()
        code = NOTEBOOK.format(folder=str(folder), modules=str(self.modules))
        self.notebook = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.notebook.stdout is not None
        assert self.notebook.stdout.readline() == b"listening\n"

    def forget_pytest(self) -> None:
        """What pytest says in the environment changes all the time."""
        os.environ.pop("PYTEST_CURRENT_TEST", None)

    def set(self, *, code: int, wait: bool = False) -> None:
        (self.work / "code").write_text(str(code))
        if wait:
            (self.work / "wait").touch()

    def ask(self, directory: str = "") -> forked.Forked | None:
        """As a kernel does, with this test's interpreter and environment."""
        self.forget_pytest()
        with (self.work / "host.log").open("wb") as log:
            host = forked.fork_host(self.folder / forked.SOCKET, self.work, directory or str(self.work), log.fileno())
        self.hosts += [host] if host is not None else []
        return host

    def facts(self) -> dict[str, Any]:
        text = until((self.work / "host.log").read_text, "the host said what it is")
        return dict(json.loads(text))

    def zygotes(self) -> list[psutil.Process]:
        """Everybody but the notebook who has this folder's module."""
        mine = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.notebook.pid and process.environ().get("ZYGOTE_OF") == str(self.folder):
                    mine.append(process)
            except psutil.Error:
                continue
        return [process for process in mine if process.pid != os.getpid()]

    def close(self) -> None:
        for host in self.hosts:
            host.release()
        self.notebook.communicate()
        until(lambda: not self.zygotes(), "the zygote ends with its notebook")


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("ZYGOTE_OF", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    made = Rig(tmp_path)
    yield made
    (made.work / "wait").unlink(missing_ok=True)
    made.close()


def test_a_forked_host_is_what_a_fresh_one_is(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "the kernel's own")
    host = rig.ask()
    assert host is not None
    assert until(host.end, "the host ends") == "with code 0"
    facts = rig.facts()
    assert facts["inherited"]
    assert facts["environ"] == os.environ
    assert facts["folder"] == str(rig.work)
    assert (facts["stdin"], facts["files"], facts["threads"]) == ("/dev/null", [0, 1, 2], 1)
    assert facts["leads"]
    assert facts["interrupt"]
    assert facts["argv"] == ["sampan.host", str(rig.work)]
    assert facts["shown"][:4] == [sys.executable, "-P", "-m", "sampan.host"]
    assert facts["path"][0] == str(rig.modules)  # what was there when it imported, without more
    own = Path("/proc/self/status").read_text()
    ignored = next(line for line in own.splitlines() if line.startswith("SigIgn:"))  # whatever this run inherited
    assert [line.split()[1] for line in facts["blocked"]] == ["0" * 16, ignored.split()[1]]
    assert int(facts["oom"]) == 300


def test_two_hosts_draw_different_numbers(rig: Rig) -> None:
    drawn = set()
    for _ in range(2):
        host = rig.ask()
        assert host is not None
        until(host.end, "the host ends")
        drawn.add(rig.facts()["random"])
    assert len(drawn) == 2


def test_its_socket_is_private(rig: Rig) -> None:
    assert stat.S_IMODE((rig.folder / forked.SOCKET).stat().st_mode) == 0o600


@pytest.mark.parametrize("code", [0, 3])
def test_the_kernel_hears_how_it_ended(rig: Rig, code: int) -> None:
    rig.set(code=code, wait=True)
    host = rig.ask()
    assert host is not None
    assert host.end() is None
    (rig.work / "wait").unlink()
    assert until(host.end, "the host ends") == f"with code {code}"


def test_it_can_be_ended_and_told_apart_from_a_success(rig: Rig) -> None:
    rig.set(code=0, wait=True)
    host = rig.ask()
    assert host is not None
    rig.facts()
    host.terminate()
    assert until(host.end, "the host ends") == f"with code {-signal.SIGTERM}"
    host.terminate()  # once more is no error


def test_hosts_outlive_a_zygote_and_are_still_seen_to_end(rig: Rig) -> None:
    rig.set(code=0, wait=True)
    host = rig.ask()
    assert host is not None
    pid = rig.facts()["pid"]
    (zygote,) = [process for process in rig.zygotes() if process.pid != pid]
    zygote.kill()
    until(lambda: not rundir.start_time(zygote.pid), "the zygote is gone")
    assert host.end() is None
    (rig.work / "wait").unlink()
    assert until(host.end, "the host ends") == "with a code that nobody saw"
    assert rig.ask() is None


@pytest.mark.parametrize("variable", ["PYTHONPATH", "DASK_TEMPORARY_DIRECTORY", "OMP_NUM_THREADS", "HOME", "ANYTHING"])
def test_a_variable_that_imports_may_look_at_is_in_doubt(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "/elsewhere")
    assert rig.ask() is None


def test_another_interpreter_is_in_doubt(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert rig.ask() is None


def _touch(rig: Rig) -> None:
    rig.module.write_text(IMPORTED + "# a new version\n")


def _install(rig: Rig) -> None:
    (rig.modules / "other-1.0.dist-info").mkdir()


def _configure(rig: Rig) -> None:
    (rig.folder / ".config" / "dask").mkdir(parents=True)


@pytest.mark.parametrize("change", [_touch, _install, _configure])
def test_it_never_serves_old_packages(rig: Rig, change: Callable[[Rig], None]) -> None:
    assert rig.ask() is not None
    change(rig)
    assert rig.ask() is None
    assert rig.ask() is None
    until(lambda: len(rig.zygotes()) == 0, "who is out of date ends")


def test_without_the_last_word_of_its_kernel_nothing_runs(rig: Rig) -> None:
    rig.forget_pytest()
    with socket.socket(socket.AF_UNIX) as connection, (rig.work / "host.log").open("wb") as log:
        connection.connect(str(rig.folder / forked.SOCKET))
        request = forked.Request(sys.executable, str(rig.work), str(rig.work), dict(os.environ))
        answer = forked._ask(connection, request, log.fileno())
        assert isinstance(answer, Mapping)
        assert rundir.is_alive(answer)
    until(lambda: not rundir.is_alive(answer), "the fork ends")
    assert (rig.work / "host.log").read_text() == ""


@pytest.mark.parametrize("words", [b"no json\n", b"{}\n", b""])
def test_nonsense_does_it_no_harm(rig: Rig, words: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(rig.folder / forked.SOCKET))
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        assert b"pid" not in connection.recv(4096)
    host = rig.ask()
    assert host is not None
    until(host.end, "the host ends")


def test_a_host_that_cannot_begin_says_why(rig: Rig) -> None:
    host = rig.ask(str(rig.folder / "nowhere"))
    assert host is not None
    assert until(host.end, "it ends") == "with code 1"
    assert "nowhere" in (rig.work / "host.log").read_text()


def test_a_notebook_that_imported_nothing_has_none() -> None:
    code = "from sampan.host import zygote; assert zygote.start(None) is None"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_kernel_of_a_notebook_without_one_starts_afresh(tmp_path: Path) -> None:
    assert forked.fork_host(tmp_path / forked.SOCKET, tmp_path, str(tmp_path), 1) is None


def test_a_host_with_everything_imported_has_dasks_settings_of_its_kernel(tmp_path: Path) -> None:
    """What fork servers import for hosts leaves a notebook's logging alone, and `run_host` makes up for it."""
    code = f"""
import logging, os, sys
before = [logging.getLogger("tornado").level, logging.getLogger("tornado").handlers[:]]
from sampan import forkserver
forkserver.preload("sampan.notebook")
assert "distributed.scheduler" in sys.modules and forkserver.for_hosts.are_current()
for name in ("tornado", "distributed"):
    logger = logging.getLogger(name)
    assert [logger.level, logger.handlers, logger.propagate] == [0, [], True], name
import dask
assert dask.config.get("distributed.comm.tls.ca-file") is None
os.environ["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] = "the session's"
import sampan.host.start
sampan.host.start.main = lambda arguments: arguments == [{str(tmp_path)!r}]
from sampan.host import zygote
assert zygote.run_host([{str(tmp_path)!r}])
assert dask.config.get("distributed.comm.tls.ca-file") == "the session's"
assert logging.getLogger("tornado").level == logging.CRITICAL
"""
    subprocess.run([sys.executable, "-c", code], check=True)
