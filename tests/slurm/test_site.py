"""The installation that the other tests work with: people come in by links, and nobody is root."""

from __future__ import annotations

from tests.slurm.installation.site import NAMES, Site
from tests.support.person import Person


def test_the_three_processes_are_nobodys_but_sampans(site: Site) -> None:
    owners = site.hub.run(["ps", "-e", "-o", "user:20=,args="], check=True).stdout.splitlines()
    ours = [line for line in owners if "/opt/sampan/" in line]
    assert len(ours) >= len(NAMES)
    assert {line.split()[0] for line in ours} == {"sampan"}, ours


def test_people_log_in_by_their_links(alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        assert person.hub("GET", "/user")[1]["name"] == person.name
        assert person.service("GET", "/whoami")[1]["owner"] == person.name
