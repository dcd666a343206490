"""What a cluster is made of: numbers, addresses, people. Plain data, decided before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NETWORK = "10.88.0.0/24"
BROADCAST = "10.88.0.255"
DESK = "10.88.0.1"  # the computer that runs the tests: sees the hub's public ports, is seen by nobody
HUB = "10.88.0.2"
CONTROLLER = "10.88.0.3"
JOB_PORTS = (31000, 31999)
PUBLIC_PORTS = (443, 8000, 8443)
SRUN_PORTS = (60001, 60063)


@dataclass(frozen=True, slots=True)
class User:
    """An account of the cluster; it exists on the machines of the testbed and not on the computer below."""

    name: str
    uid: int
    account: str
    home: str
    shell: str = "/bin/bash"


ALICE = User("alice", 4001, "lab-a", "/home/alice")
BOB = User("bob", 4002, "lab-b", "/home/bob")
SAMPAN = User("sampan", 499, "service", "/var/lib/sampan", "/usr/sbin/nologin")
USERS = (ALICE, BOB, SAMPAN)


@dataclass(frozen=True, slots=True)
class Profile:
    """`settings` are further lines of slurm.conf; they may replace one of `all_settings`.

    Without cgroups of version 1 on the computer, too much memory ends a job as FAILED with JobLaunchFailure.
    """

    nodes: int = 4
    gpu_nodes: int = 2
    cpus: int = 4
    memory_mb: int = 4000
    batch_sched_delay_s: int = 0
    accounting: bool = True
    max_array_size: int = 1001  # read by slurmctld at its start only
    slurmd_timeout_s: int = 10
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(f"node{number}" for number in range(1, self.nodes + 1))

    @property
    def addresses(self) -> dict[str, str]:
        """Of every machine, by its name."""
        nodes = {name: f"10.88.0.{10 + number}" for number, name in enumerate(self.node_names, 1)}
        return {"desk": DESK, "hubhost": HUB, "ctl": CONTROLLER, **nodes}

    @property
    def all_settings(self) -> dict[str, str]:
        """The changeable lines of slurm.conf."""
        delay = f"batch_sched_delay={self.batch_sched_delay_s}"
        return {
            "SchedulerParameters": f"{delay},bf_interval=2,sched_interval=5",
            "MaxArraySize": str(self.max_array_size),
            "SlurmdTimeout": str(self.slurmd_timeout_s),
            "MinJobAge": "300",
            "PrivateData": "none",
            **self.settings,
        }


DELAY0 = Profile()
STOCK = Profile(batch_sched_delay_s=3)
PROFILES = {"delay0": DELAY0, "stock": STOCK}
