"""Mounts one folder of the computer, or of a machine, in a machine that runs.

usage: python3 -I graft.py SOURCE_PID SOURCE TARGET_PID TARGET   (pids whose mount namespaces are meant)

A plain bind mount cannot cross mount namespaces: the tree is cloned in the one and attached in the other.
A process of its own, because it changes namespace.
"""

import ctypes
import os
import sys
from pathlib import Path

AT_FDCWD = -100
OPEN_TREE, MOVE_MOUNT = 428, 429  # the same numbers on every architecture
OPEN_TREE_CLONE, AT_RECURSIVE, MOVE_MOUNT_F_EMPTY_PATH = 1, 0x8000, 4
CLONE_NEWNS = 0x00020000

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def enter(pid: str) -> None:
    handle = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    checked(libc.setns(handle, CLONE_NEWNS), f"setns of {pid}")
    os.close(handle)


def main(source_pid: str, source: str, target_pid: str, target: str) -> None:
    target_handle = os.open(f"/proc/{target_pid}/ns/mnt", os.O_RDONLY)
    enter(source_pid)
    flags = OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC
    tree = checked(libc.syscall(OPEN_TREE, AT_FDCWD, source.encode(), flags), f"open_tree of {source}")
    checked(libc.setns(target_handle, CLONE_NEWNS), f"setns of {target_pid}")
    Path(target).mkdir(parents=True, exist_ok=True)
    moved = libc.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    checked(moved, f"move_mount to {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
