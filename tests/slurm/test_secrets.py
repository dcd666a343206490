"""Secrets are where they belong and nowhere else: looked for on the wire, in processes, in Slurm, in files and logs.

Each search also shows that it finds something that was put there to be found.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable

import pytest

from tests.slurm.at_work import RESULT, WIRE, AtWork
from tests.slurm.installation.site import NAMES, Site
from tests.support.installation import wait_until
from tests.testbeds.slurm.machine import Machine

PYTHON = "/usr/bin/python3"
SLEEP = "import time; time.sleep(600)"
SPOOLS = ("/var/spool", "/var/log")
SEEN_PROCESSES = """
import json, os, pathlib, sys
needles = json.load(sys.stdin)
found, looked = [], 0
for folder in pathlib.Path("/proc").iterdir():
    if not folder.name.isdigit() or int(folder.name) == os.getpid():
        continue
    for name in ("cmdline", "environ"):
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue
        looked += 1
        found += [f"{what} in {folder.name}/{name}" for what, text in needles.items() if text.encode() in content]
print(json.dumps([looked, found]))
"""
SEEN_FILES = """
import json, os, stat, sys
needles = json.load(sys.stdin)
found, looked = [], 0
for top in sys.argv[1:]:
    for here, folders, files in os.walk(top):
        folders[:] = [name for name in folders if (here, name) not in (("/shared/sampan", "env.1"), ("/proc", ""))]
        for path in (f"{here}/{name}" for name in files):
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                with open(path, "rb") as file:
                    content = file.read()
            except OSError:
                continue
            looked += 1
            found += [f"{what} in {path}" for what, text in needles.items() if text.encode() in content]
print(json.dumps([looked, found]))
"""


@pytest.fixture(scope="module")
def secrets(working: AtWork) -> dict[str, str]:
    assert all(len(text) >= 15 for text in working.secrets.values()), "too short to be told from chance"
    kinds = {"hub token", "credential", "bootstrap", "service.key", "key key.pem", "secret of hers", "tls/ca.key"}
    assert kinds <= working.secrets.keys(), working.secrets.keys()
    return {**working.secrets, "result": RESULT}


def look(machine: Machine, script: str, needles: dict[str, str], *places: str, user: str = "bob") -> list[str]:
    """What somebody finds; the search must have been able to."""
    argv = [PYTHON, "-I", "-c", script, *places]
    done = machine.run(argv, user=user, input=json.dumps(needles), check=True, timeout_s=120)
    looked, found = json.loads(done.stdout)
    assert looked > 0
    return list(found)


def without(needles: dict[str, str], *names: str) -> dict[str, str]:
    return {name: text for name, text in needles.items() if name not in names}


def test_the_wire_carries_no_secret(working: AtWork, secrets: dict[str, str]) -> None:
    streams = working.capture.streams()
    assert working.capture.find(WIRE.encode()), "the capture finds what was sent in the clear"
    assert sum(map(len, streams.values())) > 200_000, "the work went over it"
    found = {what: working.capture.find(text.encode()) for what, text in secrets.items()}
    assert {what: ends for what, ends in found.items() if ends} == {}


def test_processes_show_no_secret_to_others(site: Site, working: AtWork, secrets: dict[str, str]) -> None:
    needle = {"planted": f"planted-{uuid.uuid4()}"}
    for machine in (site.hub, site.cluster.ctl, *site.cluster.nodes.values()):
        with machine.popen([PYTHON, "-c", SLEEP, needle["planted"]], user="alice") as sleeping:
            try:
                wait_until(lambda machine=machine: look(machine, SEEN_PROCESSES, needle), 10, "the search finds")
                assert look(machine, SEEN_PROCESSES, secrets) == [], machine.name
            finally:
                sleeping.kill()


def test_command_lines_show_none_to_root_either(site: Site, working: AtWork, secrets: dict[str, str]) -> None:
    script = SEEN_PROCESSES.replace('("cmdline", "environ")', '("cmdline",)')
    for machine in (site.hub, *site.cluster.nodes.values()):
        assert look(machine, script, secrets, user="root") == [], machine.name


def test_slurm_itself_knows_no_secret(site: Site, working: AtWork, secrets: dict[str, str]) -> None:
    """Not its queue, records or scripts, and not the environment that it keeps for the node; asked as root."""
    numbers = site.cluster.ask("squeue", "-a", "-h", "-r", "-o", "%A").split()
    told = {
        "scontrol": site.cluster.ask("scontrol", "-a", "-dd", "show", "job"),
        "sacct": site.cluster.ask("sacct", "-a", "-D", "--parsable2", "-o", "ALL"),
        "squeue": site.cluster.ask("squeue", "-a", "-r", "-O", "ALL"),
        **{f"script of {job}": site.cluster.ask("scontrol", "write", "batch_script", job, "-") for job in numbers},
    }
    assert all(f"sampan.{site.instance()}." in told[name] for name in ("scontrol", "sacct"))
    assert all("start.py" in told[f"script of {job}"] for job in numbers)
    assert in_texts(told, secrets) == []
    for machine in (site.cluster.ctl, *site.cluster.nodes.values()):
        needle = {"name": "start.py"} if machine is site.cluster.ctl else {}
        assert needle == {} or look(machine, SEEN_FILES, needle, *SPOOLS, user="root") != [], "the spool is there"
        assert look(machine, SEEN_FILES, secrets, *SPOOLS, user="root") == [], machine.name


def test_files_show_no_secret_to_others(site: Site, working: AtWork, secrets: dict[str, str]) -> None:
    needle = {"planted": f"planted-{uuid.uuid4()}"}
    places = ("/tmp", "/var", "/run", "/dev/shm", "/home", "/shared", "/etc", "/opt/sampan/etc", "/srv")
    for machine in (site.hub, *site.cluster.nodes.values()):
        machine.run(["sh", "-c", f"umask 022; echo {needle['planted']} >/tmp/planted"], user="alice", check=True)
        assert look(machine, SEEN_FILES, needle, "/tmp") == ["planted in /tmp/planted"]
        assert look(machine, SEEN_FILES, secrets, *places) == [], machine.name


def test_logs_tell_no_secret(site: Site, working: AtWork, secrets: dict[str, str]) -> None:
    """Of the three processes, written as loud as they can be."""
    logs = {name: site.log(name) for name in NAMES}
    assert "DEBUG" in logs["service"]
    assert re.search(r"^\[D ", logs["hub"], re.M)
    assert re.search(r"debug\S*:", logs["proxy"])
    assert in_texts(logs, secrets) == []
    job = working.alice.notebook.job["id"]
    output = "\n".join(site.admin("GET", f"/jobs/{job}/log?lines=10000")["lines"])
    assert in_texts({"its own log": output}, without(secrets, "result")) == []


def in_texts(texts: dict[str, str], needles: dict[str, str]) -> list[str]:
    return [f"{what} in {name}" for name, text in texts.items() for what in named(text, needles.items())]


def named(text: str, needles: Iterable[tuple[str, str]]) -> list[str]:
    return [what for what, needle in needles if needle in text]
