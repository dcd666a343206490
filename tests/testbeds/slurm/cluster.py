"""A cluster of machines with a real Slurm on them: up, down, and what happens to clusters in between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.testbeds.slurm.accounting import Accounting, write_slurmdbd_conf
from tests.testbeds.slurm.capture import Capture
from tests.testbeds.slurm.computer import check_computer, has_cgroups_v1, only_one, remove_cgroups, remove_leftovers
from tests.testbeds.slurm.controller import Controller
from tests.testbeds.slurm.daemon import Daemon
from tests.testbeds.slurm.homes import Homes
from tests.testbeds.slurm.machine import Machine
from tests.testbeds.slurm.network import make_bridge, remove_bridge
from tests.testbeds.slurm.profile import DELAY0, Profile
from tests.testbeds.slurm.render import read_template, render_gres_conf, render_slurm_conf
from tests.testbeds.slurm.root_folder import make_etc, make_homes, make_root

MUNGE = ("runuser", "-u", "munge", "--", "munged")


class Cluster(Controller):
    """See the package for what each part is for. `folder` is wiped by `up`."""

    def __init__(self, profile: Profile = DELAY0, folder: Path | None = None) -> None:
        self.profile = profile
        self.folder = folder or Path(tempfile.gettempdir(), "sampan-slurm-testbed")
        self.shared = self.folder / "shared"  # /shared of every machine
        self.settings = profile.all_settings
        self._held = ExitStack()
        self._captures: list[Capture] = []
        roles = {"ctl": "controller", "hubhost": "hub", **dict.fromkeys(profile.node_names, "node")}
        self.machines = {name: self._machine(name, role) for name, role in roles.items()}
        self.ctl = self.machines["ctl"]
        self.hub = self.machines["hubhost"]
        self.nodes = {name: self.machines[name] for name in profile.node_names}
        self.slurmd = {
            name: Daemon(node, "slurmd", "/run/slurmd.pid", ("slurmd",)) for name, node in self.nodes.items()
        }
        self.slurmctld = Daemon(self.ctl, "slurmctld", "/run/slurmctld.pid", ("slurmctld",))
        self.accounting = Accounting(self.ctl, self.folder / "slurm") if profile.accounting else None
        self.homes = Homes(self.folder / "home", self.machines)

    def _machine(self, name: str, role: str) -> Machine:
        binds = {"home": "/home", "shared": "/shared", "slurm": "/etc/slurm"}
        paths = ["/usr:/usr:ro", *(f"{self.folder / source}:{target}" for source, target in binds.items())]
        return Machine(name, self.profile.addresses[name], role, self.folder / "machines" / name, paths)

    def up(self) -> None:
        """Ready for jobs when it returns. What an earlier, killed testbed left is removed first."""
        check_computer()
        self._held.enter_context(only_one())
        try:
            remove_leftovers()
            self._make_folders()
            make_bridge()
            for machine in self.machines.values():
                machine.power_on()
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._until_up, self.machines.values()))
                if self.accounting is not None:
                    self.accounting.start()
                self.start_slurmctld()
                list(pool.map(Daemon.start, self.slurmd.values()))
            self.wait_for_nodes(*self.nodes)
        except BaseException:
            self.down(keep=True)
            raise

    @staticmethod
    def _until_up(machine: Machine) -> None:
        machine.until_up()
        Daemon(machine, "munged", "/run/munge/munged.pid", MUNGE).start()

    def down(self, *, keep: bool = False) -> None:
        """End every machine and remove all traces; with `keep` disks and logs stay until the next `up`."""
        for capture in self._captures:
            capture.kill()
        for machine in self.machines.values():
            machine.crash()
        remove_bridge()
        remove_cgroups()
        if not keep:
            shutil.rmtree(self.folder)
        self._held.close()

    def _make_folders(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(mode=0o755)
        (self.folder / "machines").mkdir()
        self.shared.mkdir()
        make_homes(self.folder / "home")
        slurm = self.folder / "slurm"
        slurm.mkdir()
        (slurm / "gres.conf").write_text(render_gres_conf(self.profile))
        (slurm / "cgroup.conf").write_text(read_template("cgroup.conf"))
        (slurm / "epilog.sh").write_text(read_template("epilog.sh"))
        (slurm / "epilog.sh").chmod(0o755)
        write_slurmdbd_conf(slurm)
        self.write_slurm_conf()
        etc = self.folder / "etc"
        make_etc(etc, self.profile)
        for name, machine in self.machines.items():
            make_root(machine.root, etc, name)

    def write_slurm_conf(self) -> None:
        text = render_slurm_conf(self.profile, self.settings, cgroups=has_cgroups_v1())
        (self.folder / "slurm/slurm.conf").write_text(text)

    def home(self, user: str) -> Path:
        """A person's home, as seen from the computer."""
        return self.homes.folder / user

    def crash(self, name: str) -> None:
        """Power off. Slurm notices a node's after half a minute; `declare_down` tells it."""
        self.machines[name].crash()

    def boot(self, name: str) -> None:
        """Power on; a node with slurmd, and this returns when Slurm knows it again."""
        machine = self.machines[name]
        if not machine.is_up:
            machine.power_on()
            self._until_up(machine)
        if name in self.slurmd:
            self.slurmd[name].start()
            self.wait_for_nodes(name)

    @contextmanager
    def capture(self, file: Path) -> Iterator[Capture]:
        """Packets between the machines while the block runs; afterwards the capture is whole and can be searched."""
        capture = Capture(file)
        self._captures.append(capture)
        capture.start()
        try:
            yield capture
        finally:
            self._captures.remove(capture)
            capture.stop()

    @contextmanager
    def changed(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Other lines of slurm.conf while the block runs: `changed({"PrivateData": "jobs"})`."""
        before = dict(self.settings)
        self.configure(settings)
        try:
            yield
        finally:
            self.configure(before)

    def restore(self) -> None:
        """Put back what a test changed: machines, daemons, settings, partitions, homes. Jobs are left alone."""
        self.boot("hubhost")
        if self.accounting is not None:
            self.accounting.restore()
        self.start_slurmctld()
        self.homes.restore()
        if self.settings != self.profile.all_settings:
            self.configure(self.profile.all_settings)
        self.show_partitions()
        for node, daemon in self.slurmd.items():
            if not daemon.pid():
                self.boot(node)
        self.resume(*self.nodes)
        self.wait_for_nodes(*self.nodes)

    def commands(self, folder: Path, machine: Machine, user: str) -> Path:
        """Fill `folder` with squeue, sbatch… for use on the computer, each of which runs on `machine` as `user`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("sacct", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "sacctmgr"):
            script = folder / name
            script.write_text("#!/bin/sh\nexec " + " ".join(machine.entering(user)) + f' {name} "$@"\n')
            script.chmod(0o755)
        return folder


@contextmanager
def running_cluster(profile: Profile = DELAY0) -> Iterator[Cluster]:
    """Up, and down at the end."""
    cluster = Cluster(profile)
    cluster.up()
    try:
        yield cluster
    finally:
        cluster.down()
