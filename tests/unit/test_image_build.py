"""images/build.py: what the builders are told, and what they see of the clone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from images.build import HUB, IMAGES, MADE_AT, PROXY, ROOT, Image, make_build_argv, make_context, make_push_argvs


@pytest.mark.parametrize("tool", ["buildah", "podman"])
def test_times_are_fixed_and_layers_kept(tool: str) -> None:
    assert make_build_argv(tool, HUB, "sampan/hub:1", "base:2", Path("/context")) == [
        tool,
        "build",
        "--file",
        str(ROOT / "images/hub/Containerfile"),
        "--tag",
        "sampan/hub:1",
        "--build-arg",
        "BASE_IMAGE=base:2",
        "--layers",
        "--timestamp",
        str(MADE_AT),
        "/context",
    ]


def test_docker_knows_no_fixed_times() -> None:
    assert "--timestamp" not in make_build_argv("docker", HUB, "sampan/hub:1", "base:2", Path("/context"))


def test_a_push_goes_below_the_registry() -> None:
    assert make_push_argvs("buildah", "sampan/hub:1", "registry.example.org/team/") == [
        ["buildah", "tag", "sampan/hub:1", "registry.example.org/team/sampan/hub:1"],
        ["buildah", "push", "registry.example.org/team/sampan/hub:1"],
    ]


def test_the_proxy_is_the_hubs_image_with_a_version_of_its_own() -> None:
    assert HUB.references() == (HUB.reference(), PROXY)
    assert HUB.references("other") == ("sampan/hub:other",)


@pytest.mark.parametrize("image", IMAGES.values(), ids=str)
def test_the_context_has_what_the_containerfile_copies_and_nothing_made(image: Image, tmp_path: Path) -> None:
    make_context(image, tmp_path)
    lines = (ROOT / "images" / image.name / "Containerfile").read_text().splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    assert [part for part in copied if not (tmp_path / part).exists()] == []
    found = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    assert not [path for path in found if {"__pycache__", "node_modules", ".venv"} & set(path.parts)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()} == {0o644}
