"""No job runs as the user who may become anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.policy import refusals

SITE = (
    "{profile: site, url: 'https://192.0.2.1/', tls: own, login: links, isolation: none, "
    "sizes: {s: {cores: 1, memory: 1G}}, environments: {e: {prefix: /env}}, backends: {%s}}"
)
PEOPLE, ONE, LOCAL = "p: {kind: slurm}", "o: {kind: slurm, submit_as: one}", "l: {kind: local, cores: 2, memory: 2G}"


@pytest.mark.parametrize(
    ("backends", "refused"),
    [
        ((PEOPLE,), []),
        ((ONE, LOCAL), []),
        ((PEOPLE, "q: {kind: slurm}"), []),
        ((PEOPLE, LOCAL), ["l"]),
        ((LOCAL, ONE, PEOPLE), ["l", "o"]),
    ],
)
def test_who_has_a_job_cannot_be_everybody(backends: tuple[str, ...], refused: list[str]) -> None:
    settings = parse_settings((SITE % ", ".join(backends)).encode(), "sampan.yaml", Path("/site"), {})
    found = [finding for finding in refusals(settings) if "as anybody" in finding.text]
    assert [str(finding).split()[1] for finding in found] == [f"backends.{name}" for name in refused]
    assert all("submit_as: one` in p" in finding.remedy for finding in found)
