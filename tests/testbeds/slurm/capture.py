"""What went over the wire between the machines: tcpdump on the bridge, and the streams put together again."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import uuid
from collections import defaultdict
from pathlib import Path

from tests.support.installation import wait_until
from tests.testbeds.slurm.network import BRIDGE
from tests.testbeds.slurm.profile import BROADCAST, DESK

SNAP_BYTES = 262144


class Capture:
    """Every packet between machines, from `start` to `stop`, in `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._said = file.with_suffix(".txt")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Capture:
        options = [
            "-U",
            "-n",
            "-Z",
            "root",
            "-s",
            str(SNAP_BYTES),
            "-B",
            "32768",
            "--immediate-mode",
            "-w",
            str(self.file),
        ]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                ["tcpdump", "-i", BRIDGE, *options],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        wait_until(self._listens, 20, "tcpdump on the bridge")
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"tcpdump ended: {self._said.read_text()}")
        return "listening on" in self._said.read_text()

    def stop(self) -> int:
        """How many packets it has. Raises when the kernel dropped some, for then the file proves nothing."""
        if self._process is not None:
            self._until_all_is_written()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None
        said = self._said.read_text()
        counts = {words: int(number) for number, words in re.findall(r"(\d+) packets? ([a-z ]+)", said)}
        if counts["dropped by kernel"]:
            raise RuntimeError(f"the capture is not whole: {said}")
        return counts["captured"]

    def _until_all_is_written(self) -> None:
        """Packets come in order: when a last one of ours is in the file, so are all before it."""
        last = f"the last packet, {uuid.uuid4()}".encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            wire.bind((DESK, 0))
            wire.sendto(last, (BROADCAST, 9))
        wait_until(lambda: last in self._tail(), 60, f"the last packet in {self.file}")

    def _tail(self) -> bytes:
        with self.file.open("rb") as content:
            content.seek(max(0, self.file.stat().st_size - 2 * SNAP_BYTES))
            return content.read()

    def kill(self) -> None:
        """End it without a word about what it has."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def streams(self) -> dict[tuple[str, int, str, int], bytes]:
        """Per direction of a TCP connection (source, port, target, port): its bytes in order, each once."""
        return read_streams(self.file.read_bytes())

    def find(self, secret: bytes) -> list[tuple[str, int, str, int]]:
        """Which streams carry `secret` readably."""
        return [ends for ends, content in self.streams().items() if secret in content]


def read_streams(pcap: bytes) -> dict[tuple[str, int, str, int], bytes]:
    """Pure: a capture file's TCP streams (Ethernet, IPv4), a byte sent twice taken once."""
    parts: dict[tuple[str, int, str, int], dict[int, bytes]] = defaultdict(dict)
    at = 24
    while at + 16 <= len(pcap):
        (length,) = struct.unpack_from("<I", pcap, at + 8)
        packet = pcap[at + 16 : at + 16 + length]
        at += 16 + length
        if (segment := _read_segment(packet)) is not None:
            ends, sequence, content = segment
            if len(content) > len(parts[ends].get(sequence, b"")):
                parts[ends][sequence] = content
    return {ends: _join(segments) for ends, segments in parts.items()}


def _read_segment(packet: bytes) -> tuple[tuple[str, int, str, int], int, bytes] | None:
    """None unless it is TCP over IPv4 with content."""
    ip = packet[14:]
    if packet[12:14] != b"\x08\x00" or len(ip) < 20 or ip[9] != 6:
        return None
    tcp = ip[(ip[0] & 15) * 4 : struct.unpack_from("!H", ip, 2)[0] or len(ip)]
    source_port, target_port, sequence = struct.unpack_from("!HHI", tcp)
    content = tcp[(tcp[12] >> 4) * 4 :]
    source, target = (".".join(map(str, ip[start : start + 4])) for start in (12, 16))
    return ((source, source_port, target, target_port), sequence, content) if content else None


def _join(segments: dict[int, bytes]) -> bytes:
    """By sequence number, from the first one seen, so that the counter may turn over."""
    first = next(iter(segments))
    joined, end = b"", 0
    for offset, content in sorted((_distance(first, sequence), content) for sequence, content in segments.items()):
        if offset + len(content) > end or not joined:
            joined += content[max(0, end - offset) :] if joined else content
            end = offset + len(content)
    return joined


def _distance(first: int, sequence: int) -> int:
    difference = (sequence - first) % 2**32
    return difference - 2**32 if difference >= 2**31 else difference
