"""Proxy and hub apart, as in a cluster, on addresses of this machine: run by the very commands."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.paths import StatePaths
from sampan_hub.trust.internal import make_internal_context
from tests.judge.processes import processes_with_key
from tests.support.installation import SAMPAN, free_port, wait_until
from tests.system.hub_fixtures import FOREIGN

PROXY_HOST, HUB_HOST = "127.0.0.2", "127.0.0.3"
HUB_SIDE = ("hub", "service", "hub-entry", "service-entry")
FRONT_FILES = ("proxy-token", "ca.crt", "ca.key", "front-ca.crt", "front-ca.key")
PROXY_FILES = (*FRONT_FILES, "jobs-ca.crt", "internal-ca.crt", "internal-ca.key")
"""What the proxy's side is shown of the keys while it is filled."""


def own_environment() -> dict[str, str]:
    """Without what belongs to another hub; each side finds its settings in its folder."""
    return {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}


class Sides:
    """`keys/` is what the Secret holds; each side has settings, a state folder and the output of its processes."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.keys = folder / "keys"
        self.api = (PROXY_HOST, free_port())
        self.public = (PROXY_HOST, free_port())
        self.entries = {"hub-entry": (HUB_HOST, free_port()), "service-entry": (HUB_HOST, free_port())}
        self.url = f"https://{PROXY_HOST}:{self.public[1]}"
        self.paths = StatePaths(folder / "hub" / "state")
        self.proxy_paths = StatePaths(folder / "proxy" / "state")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._write_keys()
        self._write_settings("hub", self._front() + settings + self._behind())
        self._write_settings("proxy", self._front())

    def _front(self) -> str:
        """The keys that both sides' settings have."""
        urls = {"proxy_api": self.api, "hub": self.entries["hub-entry"], "service": self.entries["service-entry"]}
        layout = {key: f"https://{host}:{port}" for key, (host, port) in urls.items()} | {
            "entry_names": ["proxy-public"]
        }
        listen = f"{PROXY_HOST}:{self.public[1]}"
        own = f"profile: site\nurl: {self.url}/\nlisten: {listen}\ntls: own\nstate_dir: state\n"
        return f"{own}layout: {json.dumps(layout)}\n"

    def _behind(self) -> str:
        names = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython"}
        variables = json.dumps({name: str(self.folder / side) for name, side in names.items()})
        prefix = Path(sys.prefix) / "user"
        return (
            f"login: links\nisolation: none\nenvironments: {{default: {{prefix: {prefix}, variables: {variables}}}}}\n"
        )

    def _write_settings(self, side: str, text: str) -> None:
        (self.folder / side).mkdir()
        (self.folder / side / "sampan.yaml").write_text(text)

    def _write_keys(self) -> None:
        printed = subprocess.run([SAMPAN, "kubernetes", "keys", "--print"], capture_output=True, check=True, timeout=60)
        for side, names in (("hub", None), ("proxy", PROXY_FILES)):
            folder = self.keys / side
            folder.mkdir(parents=True)
            for name, content in json.loads(printed.stdout)["data"].items():
                if names is None or name in names:
                    (folder / name).write_bytes(base64.b64decode(content))

    def fill(self) -> None:
        """What the init containers do."""
        for side in ("hub", "proxy"):
            done = self.run(side, "kubernetes", "state", side, "--from", str(self.keys / side))
            assert done.returncode == 0, done.stderr

    def run(self, side: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A `sampan` command on this side."""
        return subprocess.run(
            [SAMPAN, *words],
            cwd=self.folder / side,
            env=own_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def launch(self, name: str) -> None:
        side = "proxy" if name == "proxy" else "hub"
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [SAMPAN, "run", name],
                cwd=self.folder / side,
                env=own_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self, *names: str) -> None:
        """Start these and wait until people get in."""
        for name in names:
            self.launch(name)
        for name in ("hub", "service"):
            if name in names:
                wait_until(lambda name=name: self.is_well(name), 60, f"{name} is well; its log:\n{self.log(name)}")
        if "hub" in self.processes and "proxy" in self.processes:
            wait_until(self.is_open, 30, f"people get in; the proxy's log:\n{self.log('proxy')}")

    def is_well(self, name: str, *words: str) -> bool:
        """Whether the probe of a cluster says so."""
        assert self.processes[name].poll() is None, self.log(name)
        return self.run("hub", "kubernetes", "probe", name, *words, "--state", str(self.paths.root)).returncode == 0

    def is_open(self) -> bool:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"{self.url}/hub/login", context=self.trust, timeout=5) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def kill(self, *names: str) -> None:
        """Kill -9, and wait until they are gone."""
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes.pop(name).wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        if self.paths.instance.exists():
            for process in processes_with_key(self.paths.instance.read_text().strip()):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    @property
    def trust(self) -> ssl.SSLContext:
        """By what browsers know the site."""
        return ssl.create_default_context(cafile=str(self.keys / "hub" / "ca.crt"))

    @property
    def front(self) -> ssl.SSLContext:
        """As hub and proxy ask each other."""
        return make_internal_context(self.paths.tls)

    @property
    def ports(self) -> dict[str, int]:
        """The hub's and the service's own, on loopback."""
        return dict(json.loads((self.paths.run / "ports.json").read_text()))

    @property
    def cli_token(self) -> str:
        return read_key(self.paths.key("cli-token")).decode()
