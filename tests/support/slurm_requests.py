"""Requests for `sampan-run-as` as tests need them: well-formed, and changed in one place."""

from __future__ import annotations

from typing import Any

from sampan_hub.privilege.requests import Options, Submit

INSTANCE = "abcdefgh"
BATCH = "abcdefghijklmnopqrstuvwx"
NAME = f"sampan.{INSTANCE}.{BATCH}.0"
STAGE = f"{NAME}.0"
FILES = {"start.py": b"print(1)\n", "batch.json": b"{}\n"}


def make_options(**changed: Any) -> Options:
    """Options of a plain job that name nothing optional."""
    plain = Options(
        name=NAME, comment="sampan1.e30.mac", partition=None, account=None, qos=None, reservation=None,
        constraint=None, gres=None, cpus=1, memory_mb=1024, gpus=0, minutes=None, tasks=None, directives=(),
    )  # fmt: skip
    return plain._replace(**changed)


def make_submit(user: str, options: Options | None = None, **changed: Any) -> Submit:
    """A submit of one plain job."""
    return Submit(user, STAGE, FILES, "/usr/bin/python3", options or make_options())._replace(**changed)
