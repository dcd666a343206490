"""Jobs that really end in every way Slurm knows: each says why in a sentence, and the end of its log can be read.

The one way that takes minutes is in test_walltime_slurm.py, beside others that wait for the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.slurm.crew import Crew, check_told, made_crew, slurm_job
from tests.slurm.installation.site import Site
from tests.support.person import Person

SENTENCES = {
    "hunger": ("out-of-memory", r"The job needed more than its 200 MiB of memory\. Choose a bigger size\."),
    "node": ("node-failed", r"The machine it ran on, node2, failed\. Start it again\."),
    "own-cancel": ("cancelled", r"The job was cancelled in Slurm by alice, whose job it was\."),
    "admin-cancel": ("cancelled", r"The job was cancelled in Slurm by root\."),
    "code": ("failed", r"The job ended with exit code 3\."),
    "signal": ("killed", r"The job was ended by signal 11\."),
    "done": ("finished", r"The job finished\."),
    "waiting-cancel": ("cancelled", r"The job was cancelled in Slurm by alice, whose job it was\."),
    "odd": ("slurm-constraint", r".*nvalid feature.*An administrator corrects the constraint.*"),
}
NEVER_BEGAN = {"waiting-cancel", "odd"}


@pytest.fixture(scope="module")
def crew(site: Site, alice: Person) -> Iterator[Crew]:
    with made_crew(site, alice) as crew:
        yield crew


@pytest.fixture(scope="module")
def ended(site: Site, crew: Crew) -> dict[str, dict[str, Any]]:
    """Everything at once."""
    cluster = site.cluster
    for name, size in (("hunger", "tiny"), ("code", "tiny"), ("signal", "tiny"), ("done", "tiny")):
        crew.start(name, size, name)
    crew.start("odd", "odd", "wait")
    for name, size in (("own-cancel", "tiny"), ("admin-cancel", "tiny"), ("node", "second")):
        crew.start(name, size, "wait")
    for name in ("own-cancel", "admin-cancel", "node"):
        crew.wait_for_word(name)
    cluster.hub.run(["scancel", slurm_job(crew, "own-cancel", "RUNNING")], user="alice", check=True)
    cluster.ask("scancel", slurm_job(crew, "admin-cancel", "RUNNING"))
    crew.wait("hunger", "code", "signal", "done", "own-cancel", "admin-cancel", "odd")
    cluster.crash("node2")
    cluster.declare_down("node2")
    crew.wait("node")
    crew.start("waiting-cancel", "second", "wait")
    cluster.hub.run(["scancel", slurm_job(crew, "waiting-cancel", "PENDING")], user="alice", check=True)
    crew.wait("waiting-cancel")
    return crew.renew()


@pytest.mark.parametrize("name", SENTENCES)
def test_the_end_is_told(alice: Person, ended: dict[str, dict[str, Any]], name: str) -> None:
    check_told(alice, ended[name], *SENTENCES[name], has_begun=name not in NEVER_BEGAN)


def test_figures_of_the_end(ended: dict[str, dict[str, Any]]) -> None:
    assert ended["code"]["exit"]["code"] == 3
    assert ended["signal"]["exit"]["signal"] == 11
