"""The backends that the contract suite runs against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.backend_rigs import FakeRig, LocalRig, Rig


@pytest.fixture(params=["local", "fake"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Every backend in turn. A new backend joins here and passes the same suite."""
    made: Rig = LocalRig(tmp_path) if request.param == "local" else FakeRig()
    yield made
    await made.close()
