"""The end of a job's output, from the parts its keeper wrote (`shim.output`)."""

from __future__ import annotations

import os
from pathlib import Path

from sampan_hub.backends.base import LogTail
from sampan_hub.backends.local.shim import files, output

PART_LIMIT_BYTES = output.SEGMENT_BYTES + output.HEAD_BYTES


def read_tail(folder: Path, lines: int) -> LogTail:
    """The last lines, with one line in place of what was cut. Never raises for what the output contains."""
    found = _parts(folder)
    text = b"".join(found).decode("utf-8", "replace")
    everything = text.splitlines()
    kept = everything[-lines:] if lines > 0 else []
    return LogTail(tuple(kept), truncated=len(kept) < len(everything))


def _parts(folder: Path) -> list[bytes]:
    tail = _open(
        folder / output.TAIL
    )  # newest first: a part that moves meanwhile is found again, and known by its inode
    old = _open(folder / output.OLD_TAIL)
    head = _open(folder / output.HEAD)
    if tail is not None and old is not None and os.path.samestat(os.fstat(tail), os.fstat(old)):
        os.close(tail)
        tail = None
    parts = [_read(part) for part in (head, old, tail) if part is not None]
    cut = _open(folder / output.CUT)
    if cut is not None and parts:
        size = _read(cut).decode("ascii", "replace")
        parts.insert(1, f"\n[sampan: {size} bytes of output were cut here]\n".encode())
    return parts


def _open(path: Path) -> int | None:
    try:
        return files.open_regular(path)
    except FileNotFoundError:
        return None


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read(PART_LIMIT_BYTES)
