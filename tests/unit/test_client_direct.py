"""`Cluster()` where there is no compute service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan import Cluster, ClusterNotFound, Refused
from sampan.direct import check_arguments


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SAMPAN_SERVICE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_without_sbatch_it_is_a_local_cluster_with_tls(capsys: pytest.CaptureFixture[str]) -> None:
    with Cluster(2) as cluster, cluster.get_client() as client:
        client.wait_for_workers(2, timeout=30)
        assert client.submit(sum, [1, 2, 3]).result(timeout=20) == 6
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        assert cluster.why().startswith("2 of 2 workers")
        assert cluster.cost is None
        with pytest.raises(ClusterNotFound, match="no compute service"):
            cluster.quote(2)
    said = capsys.readouterr().out.splitlines()
    assert said == ["No compute service and no sbatch here: this is Dask's LocalCluster, on this machine alone."]


def test_the_asynchronous_form() -> None:
    async def use() -> Any:
        async with Cluster(1, asynchronous=True) as cluster, cluster.get_client() as client:
            return await client.submit(sum, [4, 5])

    assert asyncio.run(use()) == 9


def test_what_needs_the_service_is_refused_by_name() -> None:
    for arguments in ({"size": "small"}, {"backend": "x"}, {"env": "x"}, {"project": "x"}):
        with pytest.raises(Refused, match=next(iter(arguments))) as refused:
            Cluster(1, **arguments)
        assert refused.value.field == next(iter(arguments))
    with pytest.raises(Refused, match="give a number"):
        Cluster({"small": 1})
    check_arguments(slurm=True, workers=1, size=None, backend=None, env="/x", project="p")
    for act in (Cluster.list, Cluster.attach):
        with pytest.raises(ClusterNotFound):
            act()


SBATCH = """#!/bin/sh
for script do :; done
cp "$script" "$HOME/submitted"
echo 'Submitted batch job 7'
"""


def test_with_sbatch_it_is_a_slurm_cluster_with_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with Cluster(1, project="physics") as cluster:
        submitted = tmp_path / "submitted"
        asyncio.run(_until(submitted.exists))
        script = submitted.read_text()
        assert type(cluster).__mro__[2].__name__ == "SLURMCluster"
        assert "-A physics" in script or "--account=physics" in script
        assert "--no-nanny" in script
        assert "tls://" in script
        assert "BEGIN" not in script
        assert (tmp_path / ".sampan-tls").stat().st_mode & 0o777 == 0o700
    assert "SLURMCluster, with TLS" in capsys.readouterr().out


async def _until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  a file, written by another process
            await asyncio.sleep(0.05)
