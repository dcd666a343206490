"""One Sampan on the hub host, installed and run as `docs/slurm.md` says; systemd's part is played by this class."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Literal

from tests.slurm.installation.build import ENVIRONMENT, PREFIX, build
from tests.support.entry import Entry
from tests.support.installation import wait_until
from tests.testbeds.slurm.cluster import Cluster
from tests.testbeds.slurm.process import Command
from tests.testbeds.slurm.profile import HUB, JOB_PORTS, NETWORK

Name = Literal["proxy", "hub", "service"]
NAMES: tuple[Name, ...] = ("proxy", "hub", "service")
URL = f"https://{HUB}:8443"
CONFIG = "/etc/sampan/sampan.yaml"
STATE = "/var/lib/sampan/state"
STARTED_S = 60
LOUDER = Path(__file__).with_name("louder.py").read_text()
"""`sampan run`, but the process that it becomes writes everything that it can into its log."""
SETTINGS = f"""
profile: site
url: {URL}/
tls: own
login: links
admins: [carol]
state_dir: {STATE}
environments:
  default: {{prefix: {ENVIRONMENT}}}
sizes:
  small: {{cores: 1, memory: 700M}}
  tiny: {{cores: 1, memory: 200M}}
  brief: {{cores: 1, memory: 500M}}
  flash: {{cores: 1, memory: 100M}}
  second: {{cores: 1, memory: 100M}}
  odd: {{cores: 1, memory: 100M}}
projects:
  lab-a: {{members: [alice]}}
  lab-b: {{members: [bob]}}
backends:
  slurm:
    kind: slurm
    partition: compute
    network: {NETWORK}
    ports: {{first: {JOB_PORTS[0]}, last: {JOB_PORTS[1]}}}
    walltime: 1h
    sizes:
      brief: {{walltime: 3m}}
      flash: {{walltime: 1m, directives: ["--nodelist=node1"]}}
      second: {{directives: ["--nodelist=node2"]}}
      odd: {{constraint: nowhere}}
    projects:
      lab-a: {{account: lab-a, directives: ["--exclude=node3,node4"]}}
      lab-b: {{account: lab-b, directives: ["--exclude=node1,node2"]}}
"""


class Site(Entry):
    """`folder` holds what the three processes write, one file each."""

    def __init__(self, cluster: Cluster, folder: Path, settings: str = SETTINGS) -> None:
        super().__init__()
        self.cluster = cluster
        self.hub = cluster.hub
        self.folder = folder
        self.settings = settings
        self.url = URL
        self.state = self.hub.root / STATE.lstrip("/")
        self.processes: dict[Name, Command] = {}

    def install(self) -> None:
        """What root does once: programs, environment, settings, sudo rule, units."""
        built = build()
        _copy(built.opt / PREFIX.name, self.hub.root / "opt" / PREFIX.name)
        _copy(built.shared / "sampan", self.cluster.shared / "sampan")
        config = self.hub.root / CONFIG.lstrip("/")
        config.parent.mkdir(mode=0o755, exist_ok=True)
        config.write_text(self.settings)
        config.chmod(0o644)
        self.sampan("systemd", "--write", "/", user="root")

    def start(self, *names: Name) -> None:
        """Start these processes (all when none is named) and wait until each answers through the proxy."""
        wanted = names or NAMES
        for name in wanted:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = self.hub.popen(
                    [str(PREFIX / "bin/python"), "-P", "-c", LOUDER, name],
                    user="sampan",
                    env={"SAMPAN_CONFIG": CONFIG},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            wait_until(lambda name=name: self._is_started(name), STARTED_S, f"{name}; {self.folder}/{name}.log")
        wait_until(self._is_serving, STARTED_S, f"hub and service through the proxy; see {self.folder}")

    def _is_started(self, name: Name) -> bool:
        process = self.processes[name]
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}")
        return (self.state / "run" / f"{name}.json").exists()

    def _is_serving(self) -> bool:
        for name in self.processes:
            self._is_started(name)
        if not (self.state / "tls/ca.crt").exists():
            return False
        try:
            return all(self.ask("GET", path)[0] == 200 for path in ("/hub/health", "/services/sampan/healthz"))
        except OSError:
            return False

    def end(self, name: Name, number: signal.Signals = signal.SIGTERM) -> None:
        """As systemd ends a unit: this process alone."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(30)

    def restart(self, name: Name, number: signal.Signals = signal.SIGTERM) -> None:
        self.end(name, number)
        self.start(name)

    def stop(self) -> None:
        """End the three; jobs are the cluster's to end."""
        for name in [*self.processes]:
            self.end(name)
        self.close()

    def log(self, name: Name) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def sampan(self, *words: str, user: str = "sampan", check: bool = True) -> str:
        """What a `sampan` command on the hub host prints."""
        argv = [str(PREFIX / "bin/sampan"), *words]
        return self.hub.run(argv, user=user, env={"SAMPAN_CONFIG": CONFIG}, check=check).stdout

    # From outside, as browsers come in.

    @property
    def authority(self) -> str:
        return (self.state / "tls/ca.crt").read_text()

    def key(self, name: str) -> bytes:
        return (self.state / "keys" / name).read_bytes().strip()

    def wait_for_job(self, job_id: str, *states: str, timeout_s: float = 60) -> dict[str, Any]:
        try:
            return super().wait_for_job(job_id, *states, timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {self.log('service')[-2000:]}") from None

    def instance(self) -> str:
        return (self.state / "instance").read_text().strip()

    def slurm_jobs(self) -> list[str]:
        """Names of our jobs in Slurm's queue that have not ended."""
        names = self.cluster.ask("squeue", "-a", "-r", "-h", "-o", "%j").split()
        return [name for name in names if name.startswith(f"sampan.{self.instance()}.")]


def _copy(source: Path, target: Path) -> None:
    """The folder, its files shared where the disk is the same: nobody on the machines may write them."""
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    same_disk = source.stat().st_dev == target.parent.stat().st_dev
    subprocess.run(["cp", "-al" if same_disk else "-a", source, target], check=True)
