"""What is filled in from the machine: sizes that fit, limits of containers counted, nothing overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.settings.defaults import complete, reserved_memory_bytes
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.machine import Machine, detect_machine
from sampan_hub.settings.model import LocalBackend, Settings, Size
from sampan_hub.settings.policy import refusals

GIB = 1 << 30


def machine(cores: float, memory_bytes: int) -> Machine:
    return Machine(int(cores * 1000), memory_bytes, Path("/opt/sampan"))


def completed(text: str, cores: float = 2, memory_bytes: int = 4 * GIB) -> Settings:
    return complete(parse_settings(text.encode(), "sampan.yaml", Path("/site"), {}), machine(cores, memory_bytes))


def fits(settings: Settings, size: Size, jobs: int) -> bool:
    """Whether so many jobs of the size are held by the local backend at once: memory as it is, cores overcommitted."""
    local = settings.backends["local"]
    assert isinstance(local, LocalBackend)
    assert local.cores is not None
    assert local.memory is not None
    assert local.overcommit is not None
    return size.memory * jobs <= local.memory and size.cores * jobs <= local.cores * local.overcommit + 1e-9


@given(
    cores=st.floats(2, 512),
    memory_bytes=st.integers(int(3.5 * GIB), 4096 * GIB),
    profile=st.sampled_from(["laptop", "site"]),
)
def test_a_notebook_and_four_workers_fit(cores: float, memory_bytes: int, profile: str) -> None:
    settings = completed(f"profile: {profile}", cores, memory_bytes)
    assert settings.default_size == "small"
    assert fits(settings, settings.sizes["small"], 5)
    assert settings.sizes["small"].memory >= 512 << 20
    assert all(fits(settings, size, 1) for size in settings.sizes.values())
    assert all(size.gpus == 0 and size.price_per_hour is None for size in settings.sizes.values())


@given(cores=st.floats(0.1, 512), memory_bytes=st.integers(256 << 20, 4096 * GIB))
def test_any_machine_gets_settings_that_are_not_refused(cores: float, memory_bytes: int) -> None:
    settings = completed("", cores, memory_bytes)
    assert refusals(settings) == []


def test_memory_is_never_given_out_twice() -> None:
    for gib in (1, 2, 4, 16, 256):
        settings = completed("", memory_bytes=gib * GIB)
        local = settings.backends["local"]
        assert isinstance(local, LocalBackend)
        assert local.memory == gib * GIB - reserved_memory_bytes(gib * GIB)


@pytest.mark.parametrize(
    ("cores", "gib", "names"),
    [
        (1, 4, ["small"]),
        (2, 4, ["small", "medium"]),
        (4, 16, ["small", "medium", "large"]),
        (64, 256, ["small", "medium", "large"]),
    ],
)
def test_larger_machines_offer_more(cores: int, gib: int, names: list[str]) -> None:
    assert list(completed("", cores, gib * GIB).sizes) == names


def test_overcommit_is_a_laptops() -> None:
    laptop, site = completed("").backends["local"], completed("profile: site").backends["local"]
    assert isinstance(laptop, LocalBackend)
    assert isinstance(site, LocalBackend)
    assert (laptop.overcommit, site.overcommit) == (4, 1)


def test_what_is_given_stays() -> None:
    settings = completed(
        """
        backends: {here: {cores: 8, memory: 32G, overcommit: 2}, pretend: {kind: fake}}
        sizes: {tiny: {cores: 0.5, memory: 1G}, big: {cores: 4, memory: 8G}}
        default_size: big
        environments: {one: {prefix: /one}, two: {prefix: /two}}
        default_environment: two
        """
    )
    assert settings.backends["here"] == LocalBackend(cores=8, memory=32 * GIB, overcommit=2)
    assert (settings.default_size, settings.default_environment) == ("big", "two")
    assert list(settings.sizes) == ["tiny", "big"]


def test_sizes_follow_the_backend_that_was_given() -> None:
    small = completed("backends: {local: {memory: 2560M}}", 64, 256 * GIB).sizes["small"]
    assert small.memory == 512 << 20


def test_the_first_of_each_is_the_default() -> None:
    settings = completed(
        "{sizes: {b: {cores: 1, memory: 1G}, a: {cores: 1, memory: 1G}}, environments: {z: {prefix: /z}}}"
    )
    assert (settings.default_size, settings.default_environment) == ("b", "z")


def test_the_default_environment_is_beside_the_hubs() -> None:
    assert completed("").environments["default"].prefix == Path("/opt/sampan/user")


def test_login_is_links_only_where_nobody_else_can_reach_it() -> None:
    assert completed("").login == "links"
    assert completed("url: http://[::1]:9/").login == "links"
    assert completed("url: http://192.0.2.1/").login is None
    assert completed("listen: 0.0.0.0:8000").login is None
    assert completed("url: nonsense").login is None


def test_completing_twice_changes_nothing() -> None:
    once = completed("profile: site")
    assert complete(once, machine(64, 512 * GIB)) == once


def test_completed_settings_still_know_their_file() -> None:
    settings = completed("url: http://x/")
    assert settings.source is not None
    assert settings.source.at(("url",)) is not None


def write_machine(root: Path, cgroup: str, files: dict[str, str], total_kib: int = 16 << 20) -> Path:
    for name, text in {"proc/meminfo": f"MemTotal: {total_kib} kB\n", "proc/self/cgroup": cgroup, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_detect_machine_without_limits(tmp_path: Path) -> None:
    found = detect_machine(write_machine(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}), Path("/opt"))
    assert found == Machine(len(os.sched_getaffinity(0)) * 1000, 16 * GIB, Path("/opt"))


def test_detect_machine_in_a_cgroup_v2_with_limits_above_it(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        "sys/fs/cgroup/a/memory.max": f"{3 * GIB}\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
    }
    found = detect_machine(write_machine(tmp_path, "0::/a/b\n", files))
    assert (found.cores_milli, found.memory_bytes) == (500, 3 * GIB)


def test_detect_machine_in_a_cgroup_v1(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "25000\n",
        "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/c/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    found = detect_machine(write_machine(tmp_path, "4:memory:/c\n2:cpu,cpuacct:/c\n1:name=systemd:/\n0::/\n", files))
    assert (found.cores_milli, found.memory_bytes) == (250, 2 * GIB)


def test_a_container_sees_its_own_limit_at_the_root(tmp_path: Path) -> None:
    """In a container the path of /proc/self/cgroup is the host's and does not exist inside."""
    files = {"sys/fs/cgroup/memory.max": f"{GIB}\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}
    found = detect_machine(write_machine(tmp_path, "0::/../../kubepods/pod1\n", files))
    assert (found.cores_milli, found.memory_bytes) == (100, GIB)


def test_this_machine_can_be_detected() -> None:
    found = detect_machine()
    assert found.cores_milli > 0
    assert found.memory_bytes > 0


def test_effective_settings_are_complete_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    assert effective_settings().default_size == "small"
    (tmp_path / "sampan.yaml").write_text("url: http://192.0.2.1/\n")
    with pytest.raises(SettingsError, match=r"sampan\.yaml:1:6 url – other machines can reach Sampan"):
        effective_settings()
