"""A job's output: its first MiB and its last MiBs, so that neither the cause nor the end of a flood is lost."""

from __future__ import annotations

import os
from pathlib import Path

HEAD = "output.log"
TAIL = "output.tail"
OLD_TAIL = "output.tail.old"
CUT = "output.cut"

HEAD_BYTES = 1 << 20
SEGMENT_BYTES = 4 << 20
"""The end is kept in two segments that take turns: between one and two of them are there."""


class Output:
    """Where the keeper puts what the job says. A full disk loses output, never the job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = self._create(HEAD)
        self._room_bytes = HEAD_BYTES
        self._cut_bytes = 0

    def _create(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._folder / name, flags, 0o600)

    def write(self, content: bytes) -> None:
        """Keep this piece, in the place that the bytes before it leave."""
        view = memoryview(content)
        while view:
            if self._room_bytes == 0:
                self._next_segment()
            piece = view[: self._room_bytes]
            try:
                written = os.write(self._file, piece)
            except OSError:
                self._note_cut(len(view))
                return
            self._room_bytes -= written
            view = view[written:]

    def _next_segment(self) -> None:
        tail, old = self._folder / TAIL, self._folder / OLD_TAIL
        if tail.exists():
            if old.exists():
                self._note_cut(old.stat().st_size)
            tail.rename(old)
        os.close(self._file)
        self._file = self._create(TAIL)
        self._room_bytes = SEGMENT_BYTES

    def _note_cut(self, size_bytes: int) -> None:
        self._cut_bytes += size_bytes
        try:
            (self._folder / CUT).write_text(str(self._cut_bytes))
        except OSError:
            return  # a full disk: the count stays behind, the job goes on
