"""Two people at work at once, seen from outside: their kernels, the service's API, Slurm's own commands."""

from __future__ import annotations

from tests.slurm.at_work import RESULT, AtWork, Worker
from tests.slurm.installation.site import Site
from tests.testbeds.slurm.profile import ALICE, BOB, User

SQUARES = sum(number**2 for number in range(100))


def test_notebooks_and_workers_are_jobs_of_the_people_who_asked(site: Site, working: AtWork) -> None:
    check(site, working.alice, ALICE, {"node1", "node2"})
    check(site, working.bob, BOB, {"node3", "node4"})


def check(site: Site, worker: Worker, user: User, nodes: set[str]) -> None:
    """Slurm's own record of each job: whose it is, who pays, where it runs."""
    said = worker.said
    assert (said["result"], said["sum"]) == (RESULT, SQUARES)
    assert {uid for _, uid in (said["here"], *said["workers"])} == {user.uid}
    assert len(said["workers"]) == 2
    assert {node for node, _ in (said["here"], *said["workers"])} <= nodes
    assert len(worker.jobs()) == 3
    asked = ("squeue", "-a", "-r", "-h", f"--user={user.name}", "-o", "%u %a %P %T")
    lines = site.cluster.ask(*asked).splitlines()
    assert lines == [f"{user.name} {user.account} compute RUNNING"] * 3, lines


def test_nobody_ran_as_the_service(site: Site, working: AtWork) -> None:
    ended = site.hub.run(["sacct", "-n", "-a", "-X", "-o", "User%20", "--parsable2"], check=True).stdout.split()
    assert {"alice", "bob"} <= set(ended)
    assert not {"sampan", "root"} & {*ended, *site.cluster.ask("squeue", "-a", "-h", "-o", "%u").split()}
