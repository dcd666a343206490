"""What an administrator of the cluster does: settings, nodes, partitions, jobs, counters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.support.installation import wait_until

if TYPE_CHECKING:
    from tests.testbeds.slurm.daemon import Daemon
    from tests.testbeds.slurm.machine import Machine
    from tests.testbeds.slurm.profile import Profile

READY = {"idle", "mixed", "allocated", "completing", "planned", "reserved"}
MARKS = "-$@^!%"  # sinfo appends them: planned, in maintenance… A star says that the node does not answer.


class Controller:
    """The part of `Cluster` that speaks through Slurm's own commands, as root on the controller."""

    profile: Profile
    settings: dict[str, str]
    ctl: Machine
    hub: Machine
    nodes: dict[str, Machine]
    slurmctld: Daemon

    def write_slurm_conf(self) -> None:
        """Write `settings` where all machines read them."""
        raise NotImplementedError

    def ask(self, *words: str, timeout_s: float = 30) -> str:
        """A command of Slurm's, as root on the controller; its output."""
        return self.ctl.run(words, timeout_s=timeout_s, check=True).stdout

    def start_slurmctld(self) -> None:
        """Returns when it answers."""
        self.slurmctld.start()
        wait_until(lambda: "is UP" in self.ctl.run(["scontrol", "ping"]).stdout, 30, "slurmctld: an answer")

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set lines of slurm.conf and have all daemons read them. `changed` does it for a while only."""
        self.settings = {**self.settings, **settings}
        self.write_slurm_conf()
        self.ask("scontrol", "reconfigure")

    def node_states(self) -> dict[str, str]:
        """`sinfo`'s word for each node: idle, mixed, down*, drained…"""
        lines = self.ask("sinfo", "-a", "-h", "-N", "-o", "%N %T").splitlines()
        return {name: state.rstrip(MARKS) for name, state in (line.split() for line in lines)}

    def wait_for_nodes(self, *names: str, timeout_s: float = 60) -> None:
        """Until Slurm gives these nodes jobs."""
        said = f"nodes ready: {', '.join(names)} (see var/log/slurm on their disks)"
        wait_until(
            lambda: all(states.get(name) in READY for states in [self.node_states()] for name in names), timeout_s, said
        )

    def wait_until_down(self, name: str, timeout_s: float = 90) -> None:
        """Until Slurm says that a node is gone."""
        wait_until(lambda: self.node_states()[name].startswith("down"), timeout_s, f"{name} down")

    def declare_down(self, *names: str, reason: str = "power supply") -> None:
        """An administrator says that nodes are gone; their jobs end now instead of half a minute after a crash."""
        self.ask("scontrol", "update", f"NodeName={','.join(names)}", "State=DOWN", f"Reason={reason}")

    def drain(self, *names: str, reason: str = "maintenance") -> None:
        self.ask("scontrol", "update", f"NodeName={','.join(names)}", "State=DRAIN", f"Reason={reason}")

    def resume(self, *names: str) -> None:
        """Nodes that are drained or down take jobs again; others stay as they are."""
        for name, state in self.node_states().items():
            if name in names and state.rstrip("*") in {"drained", "draining", "down"}:
                self.ask("scontrol", "update", f"NodeName={name}", "State=RESUME")

    def hide_partition(self, name: str, *, hidden: bool = True) -> None:
        self.ask("scontrol", "update", f"PartitionName={name}", f"Hidden={'YES' if hidden else 'NO'}")

    def show_partitions(self) -> None:
        """Every partition is up and visible again."""
        for line in self.ask("scontrol", "-a", "-o", "show", "partition").splitlines():
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if fields["Hidden"] != "NO" or fields["State"] != "UP":
                self.ask("scontrol", "update", f"PartitionName={fields['PartitionName']}", "Hidden=NO", "State=UP")

    def submit(self, user: str, script: str, *options: str) -> int:
        """`sbatch` on the hub host as `user`, the script through stdin; the job's number."""
        argv = ["sbatch", "--parsable", *options]
        return int(self.hub.run(argv, user=user, input=script, check=True).stdout.split(";")[0])

    def use_up_numbers(self, user: str, last: int) -> None:
        """A controller that lost jobs gives their numbers again, up to `last`, and nodes refuse those for a while."""
        while self.submit(user, "#!/bin/sh\nexit\n", "--output=/dev/null", "--mem=50") <= last:
            pass

    def job(self, number: int) -> dict[str, str]:
        """`scontrol show job`: its fields; the last one's when it is an array."""
        text = self.ask("scontrol", "-o", "show", "job", str(number))
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def wait_for_job(self, number: int, *states: str, timeout_s: float = 60) -> dict[str, str]:
        """Until its JobState is one of these; its fields then."""

        def arrived() -> dict[str, str] | None:
            fields = self.job(number)
            return fields if fields["JobState"] in states else None

        fields = wait_until(arrived, timeout_s, f"job {number} {' or '.join(states)}")
        assert isinstance(fields, dict)
        return fields

    def cancel_all(self, timeout_s: float = 60) -> None:
        """Cancel every job of everybody and wait until none is left on a node."""
        users = self.ask("squeue", "-a", "-h", "-o", "%u").split()
        for user in set(users):
            self.ask("scancel", f"--user={user}")
        wait_until(lambda: not self.ask("squeue", "-a", "-h").strip(), timeout_s, "all jobs ended")

    def count_requests(self) -> Counter[str]:
        """RPCs that slurmctld has answered since its start, by type; take two and subtract."""
        by_type = self.ask("sdiag").split("by message type")[1].split("by user")[0]
        return Counter({name: int(count) for name, count in re.findall(r"^\s+(\w+)\s+\(.*?count:(\d+)", by_type, re.M)})

    def count_requests_by_user(self) -> Counter[str]:
        by_user = self.ask("sdiag").split("by user")[1].split("Pending RPC")[0]
        return Counter({name: int(count) for name, count in re.findall(r"^\s+(\w+)\s+\(.*?count:(\d+)", by_user, re.M)})
