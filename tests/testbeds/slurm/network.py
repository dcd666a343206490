"""The wire between the machines: one bridge on the computer, one cable and one firewall per machine."""

from __future__ import annotations

from pathlib import Path

from tests.testbeds.slurm.process import run_here
from tests.testbeds.slurm.profile import DESK
from tests.testbeds.slurm.render import render_firewall

BRIDGE = "sampan-slurm"


def make_bridge() -> None:
    run_here(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run_here(["ip", "addr", "add", f"{DESK}/24", "dev", BRIDGE])
    run_here(["ip", "link", "set", BRIDGE, "up"])


def bridge_exists() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def remove_bridge() -> None:
    """Cables go with their machines."""
    if bridge_exists():
        run_here(["ip", "link", "del", BRIDGE])


def connect(name: str, pid: int, address: str, role: str) -> None:
    """Plug the machine whose first process is `pid` into the bridge, behind its firewall. No way leads further out."""
    cable = f"slurm-{name}"
    enter = ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]
    run_here([*enter, "nft", "-f", "-"], input_text=render_firewall(role))
    run_here(["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    run_here(["ip", "link", "set", cable, "master", BRIDGE, "up"])
    run_here(
        [*enter, "ip", "-batch", "-"],
        input_text=f"addr add {address}/24 dev eth0\nlink set lo up\nlink set eth0 up\n",
    )
