"""MariaDB and slurmdbd on the controller. A database with our accounts takes ten seconds to make: it is made once."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from tests.support.installation import wait_until
from tests.testbeds.slurm.daemon import Daemon
from tests.testbeds.slurm.machine import Machine
from tests.testbeds.slurm.process import run_here
from tests.testbeds.slurm.profile import USERS
from tests.testbeds.slurm.render import read_template, render_accounts, render_slurmdbd_conf

DATABASE = "/var/lib/mysql"
SETTINGS = "--defaults-file=/etc/my.cnf"
GRANT = (
    "CREATE DATABASE slurm_acct; CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';"
    " GRANT ALL ON slurm_acct.* TO 'slurm'@'127.0.0.1';"
)


class Accounting:
    """`slurmdbd` may be stopped and started by tests; the database below stays."""

    def __init__(self, controller: Machine, folder: Path) -> None:
        self.controller = controller
        self._folder = folder  # of slurmdbd.conf
        self._private_data = "none"
        mariadb = ("setsid", "--fork", "mariadbd", SETTINGS)
        self.mariadb = Daemon(controller, "mariadbd", "/run/mysqld/mysqld.pid", mariadb)
        self.slurmdbd = Daemon(controller, "slurmdbd", "/run/slurmdbd.pid", ("slurmdbd",))

    def start(self) -> None:
        """With the database from the cache, or a new one that is kept there."""
        _replace_file(self.controller.root / "etc/my.cnf", read_template("my.cnf"))
        kept = self._cache_file()
        if kept.exists():
            run_here(["tar", "-C", str(self.controller.root / "var/lib"), "-xpf", str(kept)])
        else:
            self._make_database(kept)
        self._start_mariadb()
        self.start_slurmdbd()

    def start_slurmdbd(self) -> None:
        """Returns when it answers."""
        self.slurmdbd.start()
        asking = ["sacctmgr", "-n", "show", "cluster"]
        wait_until(lambda: self.controller.run(asking).returncode == 0, 20, "slurmdbd: an answer")

    def set_private(self, private_data: str) -> None:
        """`sacct` shows others nothing of a person's jobs with "jobs", everything with "none"."""
        if private_data != self._private_data:
            write_slurmdbd_conf(self._folder, private_data)
            self._private_data = private_data
            self.slurmdbd.stop()
        self.start_slurmdbd()

    def restore(self) -> None:
        """It runs, and shows everything to everybody."""
        self.set_private("none")

    def _start_mariadb(self) -> None:
        self.mariadb.start()
        wait_until(lambda: self.controller.run(["mariadb-admin", "ping"]).returncode == 0, 30, "mariadbd: an answer")

    def _make_database(self, kept: Path) -> None:
        run = self.controller.run
        run(["install", "-d", "-o", "mysql", "-g", "mysql", "-m", "0750", DATABASE], check=True)
        make = ["mariadb-install-db", SETTINGS, "--auth-root-authentication-method=socket", "--skip-test-db"]
        run([*make, "--auth-root-socket-user=root", "--skip-name-resolve"], check=True)
        self._start_mariadb()
        run(["mariadb", "-e", GRANT], check=True)
        self.start_slurmdbd()
        run(["sacctmgr", "-iQ", "add", "qos", "urgent"], check=True)
        accounts = self.controller.root / "root/accounts.cfg"
        accounts.write_text(render_accounts(USERS))
        run(["sacctmgr", "-iQ", "load", "file=/root/accounts.cfg"], check=True)
        self.slurmdbd.stop()
        self.mariadb.stop(60)
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(f".{os.getpid()}")
        run_here(["tar", "-C", str(self.controller.root / "var/lib"), "-cpf", str(unfinished), "mysql"])
        unfinished.replace(kept)

    def _cache_file(self) -> Path:
        """In the user's cache folder; another one for another version or other accounts."""
        versions = [self.controller.run([name, "-V"], check=True).stdout for name in ("sacctmgr", "mariadbd")]
        texts = [read_template("my.cnf"), render_slurmdbd_conf(), render_accounts(USERS), GRANT]
        name = hashlib.sha256("".join(versions + texts).encode()).hexdigest()[:12]
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return folder / "sampan-testbed" / f"slurm-{name}.tar"


def _replace_file(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


def write_slurmdbd_conf(folder: Path, private_data: str = "none") -> None:
    """It holds a password, so that slurmdbd refuses it when others could read it."""
    path = folder / "slurmdbd.conf"
    path.touch(0o600)
    path.write_text(render_slurmdbd_conf(private_data))
    shutil.chown(path, "slurm", "slurm")
