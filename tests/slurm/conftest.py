"""The cluster of the session, and as it was after every test."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.slurm.at_work import AtWork, at_work
from tests.slurm.installation.site import Site
from tests.support.person import Person
from tests.testbeds.slurm.cluster import Cluster, running_cluster
from tests.testbeds.slurm.profile import PROFILES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with clusters of their own first, for there is room for one at a time and the session's one stays.

    Those with a whole Sampan last: once it runs, it asks the cluster things by itself. And of these, those with people
    at work in it last: from then on they have servers.
    """
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        fixtures = getattr(item, "fixturenames", ())
        mine = ("slurm", "site", "working")
        return 0 if not item.path.is_relative_to(here) else 1 + sum(name in fixtures for name in mine)

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with the last words of Slurm's daemons (MPI, which is not installed, is left out)."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("slurm")
    if report.failed and isinstance(cluster, Cluster):
        for name, machine in cluster.machines.items():
            for file in sorted((machine.root / "var/log/slurm").glob("*.log")):
                lines = [line for line in file.read_text(errors="replace").splitlines() if "pmi" not in line.lower()]
                report.sections.append((f"{file.name} of {name}", "\n".join(lines[-20:])))
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


@pytest.fixture(scope="session")
def site(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One whole Sampan on that cluster, for all tests that ask for it; see tests/slurm/installation."""
    site = Site(slurm, tmp_path_factory.mktemp("site"))
    try:
        site.install()
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="session")
def alice(site: Site) -> Person:
    """Logged in; account lab-a, nodes 1 and 2."""
    return Person(site, "alice")


@pytest.fixture(scope="session")
def bob(site: Site) -> Person:
    """Logged in; account lab-b, nodes 3 and 4."""
    return Person(site, "bob")


@pytest.fixture(scope="session")
def working(site: Site, alice: Person, bob: Person, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtWork]:
    """Alice and bob with a notebook, a kernel and a cluster of two workers each."""
    with at_work(site, alice, bob, tmp_path_factory.mktemp("work")) as working:
        yield working
