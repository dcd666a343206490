"""What a probe's outcome says is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sampan_hub.cli.checks.probe.sending import Order, Outcome
from sampan_hub.cli.checks.trouble import Trouble

CLOCK_SLACK_S = 30


def judge_probe(order: Order, outcome: Outcome, own_version: str) -> Iterator[Trouble]:
    """Refused, never begun, said nothing; else each thing that the node did not find as it should be."""
    if outcome.refused:
        yield Trouble(f"a job of {order.user} could not be submitted: {outcome.refused}", "as that sentence says")
        return
    if outcome.waited.startswith("PENDING"):
        text = f"the job of {order.user} did not begin in two minutes: {outcome.waited}; nodes were not looked at"
        yield Trouble(text, "try again when nodes are free, or see `scontrol show partition`")
        return
    lines = outcome.lines
    if "node" not in lines:
        last = outcome.last_words or outcome.waited
        state = f" ({last})" if last else ""
        yield Trouble(
            f"the job of {order.user} said nothing of its node{state}",
            f"the home of {order.user} must be the same folder here and on the nodes, and {order.python} must be there",
        )
        return
    host = lines["node"]["host"]
    service, environment = lines.get("service", {}), lines.get("environment", {})
    if not service.get("ok"):
        yield Trouble(
            f"{host} cannot reach {order.told['url']}: {service.get('why', 'it did not come to that')}",
            "open that port for the nodes, set `reach` to an address they know, and see that the certificate names it",
        )
    elif abs(service["clock_s"]) > CLOCK_SLACK_S:
        text = f"the clock of {host} is {service['clock_s']:+d} s off this machine's"
        yield Trouble(text, "run a time service (chrony) on both")
    if not environment.get("ok"):
        yield Trouble(
            f"{order.python} does not work on {host}: {environment.get('why', 'it did not come to that')}",
            "build it with `sampan env create` on storage that nodes see, on a Python that they have too",
        )
    else:
        yield from _judge_versions(order, environment["versions"], own_version)
    yield from _judge_ports(host, outcome)


def _judge_versions(order: Order, versions: Mapping[str, str], own_version: str) -> Iterator[Trouble]:
    found = versions["sampan"]
    if found.split(".")[:2] != own_version.split(".")[:2]:
        text = f"{order.python} has the client {found}, and this is Sampan {own_version}"
        yield Trouble(text, "run `sampan env create` with the client's wheel of this version")


def _judge_ports(host: str, outcome: Outcome) -> Iterator[Trouble]:
    listening = outcome.lines.get("listening", {})
    if not listening.get("ok"):
        why = listening.get("why", "it did not come to that")
        yield Trouble(f"nothing can listen on {host}: {why}", "see `network` and `ports` of the backend")
    elif outcome.reached:
        text = f"this machine cannot reach a notebook on {host}: {outcome.reached}"
        yield Trouble(text, "let this machine, and nodes among themselves, connect to `ports` of the nodes")
