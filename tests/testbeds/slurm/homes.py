"""Homes that are full or gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.testbeds.slurm.machine import Machine
from tests.testbeds.slurm.profile import USERS


class Homes:
    """`folder` is /home of every machine."""

    def __init__(self, folder: Path, machines: Mapping[str, Machine]) -> None:
        self.folder = folder
        self._machines = machines
        self._small: set[str] = set()

    def make_small(self, user: str, size_bytes: int = 1 << 20) -> None:
        """Give `user` an empty home of that size, the same one on every machine, until `restore`."""
        home, uid = next((person.home, person.uid) for person in USERS if person.name == user)
        first, *others = [machine for machine in self._machines.values() if machine.is_up]
        options = f"size={size_bytes},mode=700,uid={uid},gid={uid}"
        first.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", home], check=True)
        self._small.add(user)
        for machine in others:
            machine.graft(first.pid, home, home)

    def fill(self, user: str, size_bytes: int = 1 << 20) -> None:
        """A small home without a byte of room."""
        self.make_small(user, size_bytes)
        first = next(machine for machine in self._machines.values() if machine.is_up)
        first.run(["dd", "if=/dev/zero", "of=filling", "bs=4096"], user=user)  # ends when nothing more fits

    def restore(self) -> None:
        """Everybody's own home again."""
        for user in self._small:
            for machine in self._machines.values():
                if machine.is_up:
                    machine.run(["umount", "--lazy", f"/home/{user}"])  # a machine booted since has none
        self._small.clear()
