"""Running Slurm's commands that look and change nothing: no shell, a fixed environment, bounded in time and size."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from sampan_hub.backends.base import BackendError

LIMIT_S = 20.0
OUTPUT_AT_MOST = 256 * 1024 * 1024
_CHUNK = 1 << 20
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",
    "TZ": "UTC",
    "SLURM_TIME_FORMAT": "standard",
}
"""Times come in UTC, in the one form that all versions print."""


class Commands:
    """squeue, sinfo, sacct and scontrol of one folder. Whatever goes wrong is a BackendError: then nothing is known."""

    def __init__(self, backend: str, folder: Path, limit_s: float = LIMIT_S) -> None:
        self._backend = backend
        self._folder = folder
        self._limit_s = limit_s

    async def run(self, program: str, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        """What the program printed. `variables` are added to its environment, which others cannot read."""
        argv = (str(self._folder / program), *arguments)
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                env={**_ENVIRONMENT, **(variables or {})},
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise BackendError(f"{self._backend}: {argv[0]} cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._limit_s):
                output, errors = await asyncio.gather(_read(child.stdout), _read(child.stderr))
                code = await child.wait()
        except TimeoutError:
            raise BackendError(f"{self._backend}: {program} did not answer within {self._limit_s:g} s") from None
        except _TooMuch:
            raise BackendError(f"{self._backend}: {program} printed more than {OUTPUT_AT_MOST} bytes") from None
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        told = errors.decode(errors="replace").strip()
        if code != 0:
            raise BackendError(f"{self._backend}: {program} failed with code {code}: {first_error(told)}")
        if not output and "error:" in told:  # nothing at all, and a complaint: that is no empty cluster
            raise BackendError(f"{self._backend}: {program} was not sure of its answer: {first_error(told)}")
        return output.decode(errors="replace")


class _TooMuch(Exception):
    """More output than anything sensible has."""


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    if stream is None:
        return b""
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > OUTPUT_AT_MOST:
            raise _TooMuch
    return b"".join(parts)


def first_error(told: str) -> str:
    """The first line of what a command complained, without the command's name."""
    for line in told.splitlines():
        if line.strip():
            return line.partition(": ")[2].removeprefix("error: ").strip()[:300] or line.strip()[:300]
    return "it gave no reason"
