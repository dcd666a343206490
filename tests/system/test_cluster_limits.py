"""Limits, adapting, crash loops and memory, as a person in a notebook meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import wait_until
from tests.system.cluster_site import ClusterSite

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ClusterSite]:
    made = ClusterSite(tmp_path, "limits: {user: {jobs: 3}, raised_by: the help desk}")
    with made.hub:
        try:
            made.start()
            made.open_notebook()
            yield made
        finally:
            made.stop()


CAPPED = """
import warnings
from sampan import Cluster, Refused
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cluster = Cluster(4)
cluster.wait_for_workers(2, 60)
print("WARNED", *[str(each.message) for each in caught])
try:
    cluster.scale(5)
except Refused as refused:
    print("REFUSED", refused.limit, refused.used, refused.asked, refused.maximum, refused.raised_by)
try:
    Cluster(1)
except Refused as refused:
    print("SECOND", refused)
print("WHY", cluster.why())
cluster.close()
"""


async def test_over_a_limit_one_gets_what_is_possible_and_hears_the_rest(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        said = (await kernel.execute(CAPPED, 120)).checked().text
        for start in ("WARNED", "REFUSED user.jobs 3 1 3 the help desk", "SECOND", "WHY"):
            assert start in said, said
        assert said.count("the help desk") >= 3
        assert not site.host_pids()
        wait_until(lambda: len(site.workers("ended")) == 2, 20, "both that came have ended")


ADAPT = """
import time
from sampan import Cluster
cluster = Cluster()
client = cluster.get_client()
print(sum(client.gather(client.map(lambda n: time.sleep(0.3) or n, range(40)))), cluster.why())
"""


async def test_without_numbers_it_grows_with_the_work_and_shrinks_to_nothing(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        said = (await kernel.execute(ADAPT, 120)).checked().text
        assert said.startswith("780 ")
        assert "between 0 and 2" in said
        wait_until(lambda: not site.workers(), 40, "no worker is left when there is no work")
        assert len(site.workers("ended")) == 2
        (await kernel.execute("client.close(); cluster.close()")).checked()


HOPELESS = """
from sampan import Cluster
cluster = Cluster(1, name="hopeless", env="/usr/bin/python3")
try:
    cluster.wait_for_workers(1, 90)
finally:
    print(sorted(cluster.logs()))
    cluster.close()
"""


async def test_workers_that_never_arrive_are_reported_with_their_last_words(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        result = await kernel.execute(HOPELESS, 120)
        assert "ClusterFailed" in result.error
        assert "No module named" in result.error
        assert "No more replacements until you scale again" in result.error
        assert "'hopeless-0'" in result.text
        assert 1 < len(site.workers("ended")) <= 6


HEAVY = """
import time
from sampan import Cluster
cluster = Cluster(1, name="heavy")
client = cluster.get_client()
client.wait_for_workers(1, 60)
def hold():
    held = b"x" * (600 * 2**20)
    time.sleep(60)
    return len(held)
future = client.submit(hold, pure=False)
"""


async def test_a_worker_at_its_memory_limit_says_the_figure(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        (await kernel.execute(HEAVY, 90)).checked()
        ended = wait_until(lambda: site.workers("ended"), 40, "the worker ended itself")[0]
        assert ended["reason"]["code"] == "memory-limit"
        assert "MiB of the 512 MiB" in ended["reason"]["text"]
        assert ended["exit"]["code"] == 77
        (await kernel.execute("future.cancel(); client.close(); cluster.close()")).checked()
