"""The backends that the contract suite runs against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.backend_rigs import FakeRig, ForkRig, LocalRig, Rig


@pytest.fixture(params=["local", "local-forked", "fake"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Every backend in turn. A new backend joins here and passes the same suite."""
    made = await _make_rig(request.param, tmp_path)
    yield made
    await made.close()


async def _make_rig(name: str, tmp_path: Path) -> Rig:
    if name == "fake":
        return FakeRig()
    if name == "local":
        return LocalRig(tmp_path)
    forked = ForkRig(tmp_path)
    await forked.until_ready()
    return forked
