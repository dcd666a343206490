"""What light installations stand on: Sampan, the clone's tests and `sampan-run-as` on the hub host, an entry, the jobs'
program."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sampan_hub
from sampan_hub.privilege.sudo import render_sudo_rule
from sampan_hub.trust.authority import Usage
from sampan_hub.trust.files import ensure_authority, ensure_certificate, pair_in
from tests.slurm.installation.build import PREFIX, build
from tests.support.installation import wait_until
from tests.testbeds.slurm.cluster import Cluster
from tests.testbeds.slurm.process import Command
from tests.testbeds.slurm.profile import HUB, SAMPAN

HERE = Path(__file__).parent
CLONE = HERE.parents[2]
PYTHON = "/usr/bin/python3.11"
PORT = 8000
FOLDER = "/var/lib/sampan/faults"
"""Of the service's account on the hub host."""
CLONE_THERE = "/opt/faults-clone"
INSTALLED = "/opt/faults-sampan"
"""This clone's Sampan with a Python of the machines: the clone's own may stand on one that no machine has."""
COMMANDS = "/opt/faults/slurm"
RUN_AS = "/opt/faults/bin/sampan-run-as"
RULE = "etc/sudoers.d/sampan-faults"
POLICY = "etc/sampan/run-as.json"
SHARED = "/shared/faults"


class Ground:
    """Paths without a leading slash are below the disk of the hub host."""

    def __init__(self, slurm: Cluster, folder: Path) -> None:
        self.slurm = slurm
        self.hub = slurm.hub
        self.folder = folder
        self.shared = slurm.shared / "faults"
        self.state = self.hub.root / FOLDER.lstrip("/")
        self.url = f"https://{HUB}:{PORT}"
        self._entry: Command | None = None
        self._policy: bytes | None = None

    def prepare(self) -> None:
        for source, there in self._binds():
            self.hub.bind(source, there, read_only=True)
        self._install_run_as()
        self._fill_shared()
        self._make_state()
        self.start_entry()

    def _binds(self) -> list[tuple[Path, str]]:
        return [(CLONE, CLONE_THERE), (build().opt / PREFIX.name, INSTALLED)]

    def _install_run_as(self) -> None:
        """As an administrator would: root's, whole, with a rule for sudo."""
        top = self.hub.root / "opt/faults"
        source = Path(next(iter(sampan_hub.__path__)))
        package = top / "lib/sampan_hub"
        shutil.copytree(source / "privilege", package / "privilege", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(source / "__init__.py", package)
        program = self.hub.root / RUN_AS.lstrip("/")
        program.parent.mkdir()
        program.write_text(
            f"#!{PYTHON} -I\nimport sys\nsys.path.insert(0, '/opt/faults/lib')\n"
            "from sampan_hub.privilege.__main__ import main\nsys.exit(main())\n"
        )
        program.chmod(0o755)
        shutil.copytree(HERE / "commands", top / "slurm")
        for name in ("sinfo", "sacct", "scontrol", "scancel"):
            (top / "slurm" / name).symlink_to(f"/usr/bin/{name}")
        (self.hub.root / RULE).write_text(render_sudo_rule("sampan", RUN_AS))
        (self.hub.root / RULE).chmod(0o440)
        policy = self.hub.root / POLICY
        policy.parent.mkdir(exist_ok=True)
        self._policy = policy.read_bytes() if policy.exists() else None
        policy.write_text(json.dumps({"accounting": True, "caller": "sampan", "sbatch": f"{COMMANDS}/sbatch"}))

    def _fill_shared(self) -> None:
        shutil.rmtree(self.shared, ignore_errors=True)
        (self.shared / "env/bin").mkdir(parents=True)
        (self.shared / "env/bin/python").symlink_to(PYTHON)
        shutil.copytree(
            CLONE / "client/src/sampan",
            self.shared / "lib/sampan",
            ignore=shutil.ignore_patterns("__pycache__", "lab*"),
        )
        shutil.copy(CLONE / "tests/chaos/job_program.py", self.shared / "lib")
        shutil.copy(HERE / "program.py", self.shared / "program.py")
        for name in ("runs", "control"):
            (self.shared / name).mkdir()
            (self.shared / name).chmod(0o777)

    def _make_state(self) -> None:
        self.state.mkdir(mode=0o755)
        (self.state / "routes").mkdir()
        now = datetime.now(UTC)
        authority = ensure_authority(pair_in(self.state, "ca"), "Faults", Usage.SERVER, now)
        life = timedelta(days=2)
        names, entry = frozenset({HUB}), pair_in(self.state, "entry")
        ensure_certificate(entry, authority, "Faults", names, lifetime=life, renew_before=life / 2, now=now)
        self.own(self.state)

    def own(self, folder: Path) -> None:
        """All of it belongs to the service's account."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, SAMPAN.uid, SAMPAN.uid)

    def start_entry(self) -> None:
        """Nothing when it runs."""
        if self._entry is not None and self._entry.poll() is None:
            return
        argv = [PYTHON, "-m", "tests.slurm.faults.entry", FOLDER, str(PORT)]
        env = {"PYTHONPATH": CLONE_THERE, "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.folder / "entry.log").open("ab") as log:
            self._entry = self.hub.popen(argv, user="sampan", env=env, stdout=log, stderr=log)
        ports = f":{PORT} "
        wait_until(lambda: any(ports in line for line in self.hub.listeners()), 30, "the entry listens")

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.state / "ca.crt"))

    def say(self, name: str, word: str) -> None:
        """Tell a stand-in command how to behave."""
        part = self.shared / "control" / f".{name}"
        part.write_text(word)
        part.chmod(0o666)
        part.rename(self.shared / "control" / name)

    def is_said(self, name: str) -> bool:
        """Whether nobody has used it up."""
        return (self.shared / "control" / name).exists()

    def hush(self, name: str) -> None:
        """It behaves again."""
        (self.shared / "control" / name).unlink(missing_ok=True)

    def runs_of(self, job_id: str) -> list[str]:
        """Every run that was let to work under this id: `<run> <node>`."""
        file = self.shared / "runs" / job_id
        return file.read_text().splitlines() if file.exists() else []

    def doubles(self, instance: str) -> set[str]:
        """Ids under which more than one run was let to work."""
        files = (self.shared / "runs").glob(f"{instance}.*")
        return {file.name for file in files if len(set(file.read_text().splitlines())) > 1}

    def remove(self) -> None:
        if self._entry is not None:
            self._entry.kill()
            self._entry.wait()
        for _, there in self._binds():
            self.hub.unbind(there)
            (self.hub.root / there.lstrip("/")).rmdir()
        for path in (RULE, POLICY):
            (self.hub.root / path).unlink()
        if self._policy is not None:
            (self.hub.root / POLICY).write_bytes(self._policy)
        for path in (self.hub.root / "opt/faults", self.state, self.shared):
            shutil.rmtree(path)


@contextmanager
def prepared_ground(slurm: Cluster, folder: Path) -> Iterator[Ground]:
    ground = Ground(slurm, folder)
    try:
        ground.prepare()
        yield ground
    finally:
        ground.remove()
