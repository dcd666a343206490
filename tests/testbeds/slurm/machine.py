"""One machine: host name, processes, mounts, network and disk of its own; boot, crash, commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.installation import wait_until
from tests.testbeds.slurm.network import connect
from tests.testbeds.slurm.process import Command, run_here
from tests.testbeds.slurm.profile import USERS

FOLDER = Path(__file__).parent
MARK = "sampan-testbed-machine"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("--net", "--uts", "--ipc", "--pid", "--mount")
APART = ("unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private", "--")
UIDS = {user.name: user.uid for user in USERS}
HOMES = {"root": "/root", **{user.name: user.home for user in USERS}}


class Machine:
    """`root` is its disk as seen from the computer; /tmp, /run and /dev/shm are only seen by commands in it."""

    def __init__(self, name: str, address: str, role: str, root: Path, binds: Sequence[str]) -> None:
        self.name = name
        self.address = address
        self.role = role
        self.root = root
        self.binds = list(binds)
        self._outer: subprocess.Popen[bytes] | None = None
        self.pid = 0  # of its first process, as the computer numbers it; 0 when it is off

    def power_on(self) -> None:
        """Begin to boot. `until_up` waits for it."""
        with (self.root.parent / f"{self.name}.boot.txt").open("wb") as said:
            self._outer = subprocess.Popen(
                [*APART, str(FOLDER / "machine.sh"), self.name, str(self.root), *self.binds],
                cwd="/",
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def until_up(self, timeout_s: float = 20) -> None:
        """Wait for the boot's end and plug in the network."""
        self.pid = wait_until(self._first_process, timeout_s, f"{self.name}: boot")
        connect(self.name, self.pid, self.address, self.role)

    def _first_process(self) -> int:
        assert self._outer is not None
        if self._outer.poll() is not None:
            said = (self.root.parent / f"{self.name}.boot.txt").read_text()
            raise RuntimeError(f"{self.name} did not boot: {said}")
        for child in Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split():
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(f"{MARK} {self.name}".encode()):
                return int(child)
        return 0

    @property
    def is_up(self) -> bool:
        return self.pid != 0

    def crash(self) -> None:
        """Power off: every process dies at once, the network goes, the disk stays."""
        self.pid = 0
        if self._outer is not None:
            self._outer.kill()  # its child, the first process, dies with it and takes all others along
            self._outer.wait()
            self._outer = None
        wait_until(lambda: not Path(f"/sys/class/net/slurm-{self.name}").exists(), 20, f"{self.name}: the cable's end")

    def path(self, inside: str) -> Path:
        """A way from the computer to a file of the running machine, temporary folders included."""
        return Path(f"/proc/{self._running()}/root") / inside.lstrip("/")

    def _running(self) -> int:
        if not self.pid:
            raise RuntimeError(f"{self.name} is off: boot it first")
        return self.pid

    def entering(self, user: str) -> list[str]:
        """The words before a command that make it run here as `user`."""
        enter = ["nsenter", f"--target={self._running()}", *NAMESPACES, "--"]
        if user == "root":
            return enter
        if user not in UIDS:
            raise ValueError(f"{user}: no such user on the testbed; there are root, {', '.join(UIDS)}")
        return [*enter, "setpriv", f"--reuid={UIDS[user]}", f"--regid={UIDS[user]}", "--init-groups", "--"]

    def popen(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Command:
        """Start a command as `user`, in a clean environment plus `env`, in their home or `cwd`.

        `options` are Popen's; without them it reads nothing, and its output goes nowhere.
        """
        home = HOMES[user]
        clean = {"HOME": home, "USER": user, "LOGNAME": user, "PATH": PATH, "LANG": "C.UTF-8"}
        for stream in ("stdin", "stdout", "stderr"):
            options.setdefault(stream, subprocess.DEVNULL)
        return Command(
            [*self.entering(user), "env", "-C", cwd or home, *argv],
            env={**clean, **(env or {})},
            text=True,
            start_new_session=True,
            **options,
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        input: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end. With `check` a failure raises and says what the command said."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        pipe = subprocess.PIPE
        with self.popen(argv, user=user, cwd=cwd, env=env, stdin=stdin, stdout=pipe, stderr=pipe) as command:
            try:
                output, errors = command.communicate(input, timeout_s)
            except BaseException:
                command.kill()
                raise
        done = subprocess.CompletedProcess(list(argv), command.returncode, output, errors)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {list(argv)} as {user} ended with {done.returncode}: {errors or output}")
        return done

    def bind(self, source: Path, target: str, *, read_only: bool = False) -> None:
        """Mount a folder of the computer while the machine runs, until it is unbound or crashes."""
        self.graft(os.getpid(), str(source), target)
        if read_only:
            self.run(["mount", "-o", "remount,bind,ro", target], check=True)

    def graft(self, source_pid: int, source: str, target: str) -> None:
        """`bind` from any mount namespace."""
        pids = (str(source_pid), str(self._running()))
        run_here([sys.executable, "-I", str(FOLDER / "graft.py"), pids[0], source, pids[1], target])

    def unbind(self, target: str) -> None:
        self.run(["umount", "--lazy", target], check=True)

    def listeners(self) -> list[str]:
        """Lines of `ss`: listening TCP and UDP sockets with their processes."""
        return self.run(["ss", "-H", "-l", "-n", "-t", "-u", "-p"], check=True).stdout.splitlines()

    def signal(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process by the number that it has on this machine."""
        self.run(["kill", f"-{int(number)}", str(pid)], check=True)
