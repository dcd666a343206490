"""The commands of docs/slurm.md, in order, as root on a hub host that has no clone; then a notebook of alice's.

systemd's part is played by a few lines, because the machines have none. The lines that fetch packages run with the
computer's network and caches, because the machines have no way out; everything else runs as the page has it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.load import load_settings
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.policy import refusals
from tests.support.installation import wait_until
from tests.testbeds.slurm.cluster import Cluster, running_cluster
from tests.testbeds.slurm.profile import HUB, JOB_PORTS, NETWORK

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/slurm.md").read_text()
UV = Path(sys.prefix) / "bin" / "uv"
FOLDER = "/srv/install"
STUB = "/opt/stub"
URL = f"https://{HUB}:8443"
FETCHES = ("pip install", "proxy install", "env create")
SERVICES = ("proxy", "hub", "service")
SETTINGS = f"""
profile: site
url: {URL}/
listen: 0.0.0.0:8443
tls: own
login: links
admins: [ana]
state_dir: /var/lib/sampan/state
environments:
  default: {{prefix: /shared/sampan/default}}
sizes:
  small: {{cores: 1, memory: 700M}}
backends:
  cluster:
    kind: slurm
    partition: compute
    walltime: 30m
    network: {NETWORK}
    ports: {{first: {JOB_PORTS[0]}, last: {JOB_PORTS[1]}}}
"""
SYSTEMCTL = """#!/usr/bin/python3
# Starts and ends what the units say. Stands in for systemd: `enable --now sampan.target`, `restart UNIT…`.
import configparser, os, pathlib, pwd, resource, signal, subprocess, sys

def read(name):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(f"/etc/systemd/system/{name}")
    return unit

def start(name):
    service = read(name)["Service"]
    account = pwd.getpwnam(service["User"])
    log = open(f"/var/log/{name}.log", "ab")
    variable, _, value = service["Environment"].partition("=")
    files = min(int(service["LimitNOFILE"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # as a container may say
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    process = subprocess.Popen(
        service["ExecStart"].split(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin", "HOME": account.pw_dir, variable: value},
        user=account.pw_uid, group=account.pw_gid, extra_groups=(), start_new_session=True, umask=0o077,
    )
    pathlib.Path(f"/run/{name}.pid").write_text(str(process.pid))

def stop(name):
    pid = int(pathlib.Path(f"/run/{name}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    while is_alive(pid):
        pass

def is_alive(pid):
    try:
        return " Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False

verb, words = sys.argv[1], sys.argv[2:]
if verb == "enable":
    assert words == ["--now", "sampan.target"], words
    for name in read("sampan.target")["Unit"]["Wants"].split():
        start(name)
elif verb == "restart":
    for name in words:
        stop(f"{name}.service")
        start(f"{name}.service")
else:
    assert verb == "daemon-reload", verb
"""


def read_blocks() -> list[list[str]]:
    """The commands of each ```bash block, in order."""
    return [block.splitlines() for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]


class HubHost:
    """What an administrator has: dist/ and sampan.yaml in a folder, and a terminal of root's."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.machine = cluster.hub
        self.folder = self.machine.root / FOLDER.lstrip("/")
        (self.folder / "dist").mkdir(parents=True)
        self.make_dist()
        (self.folder / "sampan.yaml").write_text(SETTINGS)
        stub = self.machine.root / STUB.lstrip("/")
        stub.mkdir(parents=True)
        (stub / "systemctl").write_text(SYSTEMCTL)
        (stub / "systemctl").chmod(0o755)

    def make_dist(self) -> None:
        """The recipe of `make dist`, into this folder."""
        recipe = re.search(r"^dist:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert recipe is not None
        clone = self.folder / "clone"
        for name in ("hub", "client", "tools"):
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        lines = recipe[1].replace("$(uv)", str(UV)).replace("$$", "$").replace("\t@", "").replace("\t", "")
        subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=clone, check=True, capture_output=True)
        shutil.rmtree(self.folder / "dist")
        (clone / "dist").rename(self.folder / "dist")
        shutil.rmtree(clone)

    def type(self, line: str) -> str:
        """One line of the page, as it is; what it printed."""
        if any(words in line for words in FETCHES):
            return self._fetch(line)
        path = f"{STUB}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        argv = ["bash", "-euo", "pipefail", "-c", line]
        done = self.machine.run(argv, cwd=FOLDER, env={"PATH": path}, timeout_s=200)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def _fetch(self, line: str) -> str:
        """On the machine's disk, by the computer's network."""
        ours = ("PYTHON", "VIRTUAL_ENV", "PYENV", "SAMPAN_", "PYTEST")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        with self._computer_shown():
            enter = ["nsenter", f"--target={self.machine.pid}", "--mount", "--pid", "--", "env", "-C", FOLDER]
            done = subprocess.run(
                [*enter, "bash", "-euo", "pipefail", "-c", line],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=400,
                umask=0o022,
            )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def _computer_shown(self) -> Iterator[None]:
        files = [Path("/etc", name) for name in ("resolv.conf", "nsswitch.conf", "hosts")]
        own = {path: self.machine.root / path.relative_to("/") for path in files}
        before = {path: target.read_text() for path, target in own.items()}
        self.machine.bind(Path.home(), "/root")
        try:
            for path, target in own.items():
                target.write_text(path.read_text())
            yield
        finally:
            self.machine.unbind("/root")
            for path, target in own.items():
                target.write_text(before[path])

    def logs(self) -> str:
        files = [self.machine.root / f"var/log/sampan-{name}.service.log" for name in SERVICES]
        return "\n".join(f"--- {file.name}\n{file.read_text()[-2000:]}" for file in files if file.exists())

    def pids(self) -> dict[str, int]:
        run = self.machine.root / "var/lib/sampan/state/run"
        return {name: int(json.loads((run / f"{name}.json").read_text())["pid"]) for name in SERVICES}

    def call(self, method: str, path: str, token: str) -> tuple[int, str]:
        """One request from outside, over TLS, by the certificate that people are told to trust."""
        trust = ssl.create_default_context(cafile=str(self.machine.root / "var/lib/sampan/state/tls/ca.crt"))
        request = urllib.request.Request(f"{URL}{path}", method=method, data=b"{}" if method == "POST" else None)
        request.add_header("Authorization", f"token {token}")
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def test_every_settings_file_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is whole; what follows are parts to put into it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    yaml, settings = YAML(typ="safe"), {}
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        settings |= yaml.load(text)
        with (tmp_path / "sampan.yaml").open("w") as file:
            yaml.dump(settings, file)
        assert refusals(complete(load_settings(), detect_machine())) == []


@pytest.fixture(scope="module")
def host() -> Iterator[HubHost]:
    with running_cluster() as cluster:
        yield HubHost(cluster)


def test_installing_takes_ten_commands() -> None:
    assert len(read_blocks()[0]) <= 10


@pytest.mark.timeout(900)
def test_every_command_of_the_page(host: HubHost) -> None:
    install, people, more_packages, upgrade = read_blocks()
    printed = [host.type(line) for line in install]
    assert "no findings" in printed[-1], printed[-1]
    said = [host.type(line) for line in people]
    assert f"{URL}/hub/" in said[0]
    assert "alice" in said[1]

    sampan = "sudo -u sampan /opt/sampan/bin/sampan --config /etc/sampan/sampan.yaml"
    token = host.type(f"{sampan} token alice").strip()
    assert host.call("POST", "/hub/api/users/alice/server", token)[0] in (201, 202)
    wait_until(lambda: '"running"' in host.type(f"{sampan} jobs --json"), 90, f"a notebook runs; {host.logs()}")
    running = host.cluster.ask("squeue", "-h", "-a", "-o", "%u %T")
    assert running.split() == ["alice", "RUNNING"], "a job of hers, and no probe is left"
    wait_until(lambda: host.call("GET", "/user/alice/api/status", token)[0] == 200, 60, "it answers through the proxy")

    for line in [*more_packages, *upgrade]:
        printed = [host.type(line)]
    assert (host.cluster.shared / "sampan/default/requirements.lock").exists()
    host.type(f"{sampan} check --wait 60")  # until what the upgrade restarted serves again
    before = host.pids()
    host.type(f"{sampan} check")
    assert host.pids() == before
    assert host.call("GET", "/user/alice/api/status", token)[0] == 200, "the notebook did not notice"
