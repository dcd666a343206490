"""The three processes: running, ours alone, answering; and what the service itself has found."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from sampan_hub.cli.api import Api, ApiError
from sampan_hub.cli.checks.elsewhere import ask_proxy
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.cli.supervise.arrange import names_here
from sampan_hub.cli.supervise.http import NotAnswering, call
from sampan_hub.cli.supervise.launch import record_path
from sampan_hub.cli.supervise.ports import Ports, read_ports
from sampan_hub.cli.supervise.records import read_alive, read_boot_id, read_record
from sampan_hub.cli.supervise.site import LOOPBACK, Site
from sampan_hub.settings.keyfiles import KeyFileError, read_key

CONNECT_TIMEOUT_S = 5.0
POLL_S = 0.5


def check_processes(site: Site) -> Iterator[Trouble]:
    """Each of the three runs, and `sampan up` watches over them; when none runs, that is one finding, not four."""
    run, names = site.paths.run, names_here(site)
    alive = {name: record for name in names if (record := read_alive(record_path(run, name))) is not None}
    kept_by_up = not any(record.kept_by == "run" for record in alive.values())
    start = "run `sampan up`" if kept_by_up else "start it where the others are kept (`systemctl start sampan.target`)"
    if site.settings.layout is not None:
        start = "its container is started again by itself"
    if not alive:
        yield Trouble("Sampan does not run here", "run `sampan up` (where systemd keeps it: start `sampan.target`)")
        return
    for name in names:
        if name not in alive:
            yield Trouble(f"the {name} does not run", f"{start}; why it ended: {where_logged(site, name)}")
    if kept_by_up and read_alive(record_path(run, "up")) is None:
        remedy = "run `sampan up`: it takes over what runs"
        yield Trouble("`sampan up` does not run: what ends now is not started again", remedy)


def find_pids(site: Site) -> list[int]:
    """Of those of the three that run."""
    records = (read_alive(record_path(site.paths.run, name)) for name in names_here(site))
    return [record.pid for record in records if record is not None]


def where_logged(site: Site, name: str) -> str:
    """Where a process writes: `sampan run` leaves that to who keeps it."""
    if site.settings.layout is not None:
        return f"`kubectl logs deploy/{'proxy' if name == 'proxy' else 'hub'} -c {name}`"
    record = read_record(record_path(site.paths.run, name))
    kept_by_up = record is None or record.kept_by == "up"
    return str(site.paths.log / f"{name}.log") if kept_by_up else f"`journalctl -u sampan-{name}`"


def check_other_users_of_folder(site: Site) -> Iterator[Trouble]:
    """No other process, and no other machine, works with this state folder."""
    run = site.paths.run
    known, names = {os.getpid()}, names_here(site)
    for name in names:
        record = read_record(record_path(run, name))
        if record is None:
            continue
        known.add(record.pid)
        if record.boot_id != read_boot_id() and record_path(run, name).stat().st_mtime > _booted_at_s():
            text = f"another machine started a {name} with {site.paths.root} while this one was up"
            yield Trouble(text, "give each machine a `state_dir` of its own, on a disk of its own")
    held = {run / f"{name}.lock" for name in names}
    for pid in sorted(_holders(held) - known):
        text = f"process {pid} works with {site.paths.root} and is none of the recorded three"
        yield Trouble(text, f"see what it is (`ps -fp {pid}`) and end it (`kill {pid}`)")


def _booted_at_s() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0


def _holders(files: set[Path]) -> set[int]:
    """The processes of this user that have one of the files open."""
    targets = {str(file.resolve()) for file in files}
    holders = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            opened = {str(link.readlink()) for link in (entry / "fd").iterdir()}
        except OSError:  # ended meanwhile, or not ours to look at
            continue
        if opened & targets:
            holders.add(int(entry.name))
    return holders


def check_answers(site: Site) -> Iterator[Trouble]:
    """Proxy, hub and service answer where they should; asked only of those that run."""
    ports = read_ports(site.ports_file)
    if ports is None:
        return
    run = site.paths.run
    checks = {"proxy": _proxy_trouble, "hub": _hub_trouble, "service": _service_trouble}
    for name, check in checks.items():
        is_elsewhere = name == "proxy" and site.settings.layout is not None
        if is_elsewhere or read_alive(record_path(run, name)) is not None:
            trouble = check(site, ports)
            if trouble is not None:
                again = "`sampan down`, then a fresh start, restarts it"
                remedy = f"see {where_logged(site, name)}" + (f"; {again}" if site.settings.layout is None else "")
                yield Trouble(trouble, remedy)


def wait_until_served(site: Site, wait_s: float) -> None:
    """Returns when all three answer, or when time is up."""
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s and not _is_served(site):
        time.sleep(POLL_S)


def _is_served(site: Site) -> bool:
    ports = read_ports(site.ports_file)
    asked = (_proxy_trouble, _hub_trouble, _service_trouble)
    return ports is not None and all(trouble(site, ports) is None for trouble in asked)


def _proxy_trouble(site: Site, ports: Ports) -> str | None:
    layout = site.settings.layout
    return _proxy_here_trouble(site, ports) if layout is None else ask_proxy(site, layout)


def _proxy_here_trouble(site: Site, ports: Ports) -> str | None:
    host = site.endpoint.host
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    try:
        socket.create_connection((host, ports.public), CONNECT_TIMEOUT_S).close()
        token = read_key(site.paths.key("proxy-token")).decode()
        reply = call("GET", ports.proxy_api, "/api/routes", {"Authorization": f"token {token}"})
    except (OSError, NotAnswering, KeyFileError) as error:
        return f"the proxy does not answer: {error}"
    return None if reply.is_ok else f"the proxy refuses our token: {reply.message}"


def _hub_trouble(site: Site, ports: Ports) -> str | None:
    try:
        reply = call("GET", ports.hub, f"{site.base_path}hub/health")
    except NotAnswering as error:
        return f"the hub does not answer: {error}"
    return None if reply.is_ok else f"the hub is not well: {reply.message}"


def _service_trouble(site: Site, ports: Ports) -> str | None:
    try:
        reply = call("GET", ports.service, f"{site.base_path}services/sampan/readyz")
    except NotAnswering as error:
        return f"the service does not answer: {error}"
    return None if reply.is_ok else f"the service is not ready: {reply.message}"


def check_service_findings(site: Site) -> Iterator[Trouble]:
    """What the service found: jobs that are not ours, leftovers on the backends, lost jobs; and a pause."""
    if read_alive(record_path(site.paths.run, "service")) is None:
        return
    api = Api(site)
    try:
        found, sentence = api.get("findings")["findings"], api.get("pause")["sentence"]
    except ApiError as error:
        text = f"what the service has found cannot be read: {error.message}"
        yield Trouble(text, f"see {where_logged(site, 'service')}")
        return
    if sentence is not None:
        yield Trouble(f"new work is refused: {sentence}", "run `sampan resume`")
    for finding in found:
        where = f" (backend {finding['backend']})" if finding.get("backend") else ""
        yield Trouble(finding["text"] + where, finding["remedy"])
