"""The cluster of the session, and as it was after every test."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.testbeds.slurm.cluster import Cluster, running_cluster
from tests.testbeds.slurm.profile import PROFILES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with clusters of their own first, for there is room for one at a time and the session's one stays."""
    here = Path(__file__).parent
    ours = [item for item in items if item.path.is_relative_to(here)]
    alone = [item for item in ours if "slurm" not in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in ours] + alone + [item for item in ours if item not in alone]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with the last words of Slurm's daemons."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("slurm")
    if report.failed and isinstance(cluster, Cluster):
        for name, machine in cluster.machines.items():
            for file in sorted((machine.root / "var/log/slurm").glob("*.log")):
                last = file.read_text(errors="replace").splitlines()[-20:]
                report.sections.append((f"{file.name} of {name}", "\n".join(last)))
    return report


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """One real cluster for the whole session: `SLURM_PROFILE` (delay0 when unset, or stock) says which."""
    with running_cluster(PROFILES[os.environ.get("SLURM_PROFILE", "delay0")]) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Daemons, nodes, settings, partitions and homes are put back after a test that used the cluster; jobs are not."""
    yield
    if "slurm" in request.fixturenames:
        request.getfixturevalue("slurm").restore()


@pytest.fixture
def no_jobs(slurm: Cluster) -> Iterator[None]:
    """No job of anybody before the test, and none after it."""
    slurm.cancel_all()
    yield
    slurm.restore()
    slurm.cancel_all()
