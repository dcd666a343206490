"""`sampan env create`: real builds by the real uv, of tiny packages from a folder of wheels."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sampan_hub.cli import packaged
from sampan_hub.cli.environments import build as building
from sampan_hub.cli.environments import interpreter, prune, readable, versions, wheels
from sampan_hub.cli.environments.prune import JobTimes
from sampan_hub.cli.environments.running import ask_jobs
from sampan_hub.cli.environments.trouble import CannotBuild
from sampan_hub.cli.main import main
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.model import Settings
from tests.support.tiny_wheels import make_lock, make_wheel

SYSTEM_PYTHON = "/usr/bin/python3"
WHO_AM_I = "import sys, dask; print(sys.prefix, dask.VERSION)"


class Shelf:
    """A folder of environments, a folder of wheels, and a clone whose lock names the wheels."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = root / "envs" / "default"
        self.house = root / "wheelhouse"
        self.house.mkdir()
        self.client = make_wheel(root, "sampan", "0.1.0", ["distributed"])
        self._clone = root / "clone"
        (self._clone / "client").mkdir(parents=True)
        for name in building.TOLD[1:]:
            make_wheel(self.house, name)
        self.relock()
        monkeypatch.setattr(packaged, "CLONE", self._clone)

    def relock(self) -> None:
        (self._clone / "client" / "requirements.lock").write_text(make_lock(sorted(self.house.glob("*.whl"))))

    def create(self, *words: str | Path) -> Result:
        argv = ["env", "create", self.path, "--find-links", self.house, "--wheel", self.client, *words]
        return CliRunner().invoke(main, [str(word) for word in argv])

    def created(self, *words: str | Path) -> Path:
        """The folder that PATH leads to after this went well."""
        result = self.create(*words)
        assert result.exit_code == 0, result.output
        return self.path.resolve()

    def refused(self, *words: str | Path) -> str:
        result = self.create(*words)
        assert result.exit_code == 1, result.output
        return result.output


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    root = Path(tempfile.mkdtemp(prefix="sampan-shelf-"))
    root.chmod(0o755)  # pytest's own folders can be entered by nobody else
    yield Shelf(root, monkeypatch)
    shutil.rmtree(root)


def modes(root: Path) -> set[int]:
    """The permissions of everything below, links apart."""
    found = [root, *root.rglob("*")]
    return {stat.S_IMODE(path.stat().st_mode) for path in found if not path.is_symlink()}


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def run_python(prefix: Path, code: str) -> str:
    done = subprocess.run([prefix / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


# What is built.


def test_an_environment_is_locked_compiled_and_linked(shelf: Shelf) -> None:
    folder = shelf.created()
    assert folder.name == "default.1"
    assert str(shelf.path.readlink()) == "default.1", "relative: the storage may be mounted elsewhere too"
    assert run_python(shelf.path, WHO_AM_I) == f"{folder} 1.0"
    mark = json.loads((shelf.path / versions.MARK).read_text())
    assert mark["sampan"] == "0.1.0"
    assert set(mark["packages"]) == set(building.TOLD)
    lock = (shelf.path / "requirements.lock").read_text()
    assert lock.count("--hash=sha256:") == len(building.TOLD)
    assert f"sampan @ file://{folder}/wheels/{shelf.client.name}" in lock
    assert list(folder.rglob("__pycache__/dask.*.pyc")), "people cannot write there: what is not compiled now never is"


def test_everybody_can_read_it_whatever_the_umask(shelf: Shelf) -> None:
    before = os.umask(0o077)
    try:
        folder = shelf.created()
    finally:
        os.umask(before)
    assert modes(folder) == {0o755, 0o644}
    assert readable.find_barrier(shelf.path / "bin" / "python") is None


def test_it_stands_on_a_python_by_its_full_name(shelf: Shelf) -> None:
    folder = shelf.created()
    base = Path(SYSTEM_PYTHON).resolve()
    assert (folder / "bin" / "python").readlink() == base
    assert json.loads((folder / versions.MARK).read_text())["interpreter"] == str(base)


def test_more_requirements_go_into_the_same_lock(shelf: Shelf, tmp_path: Path) -> None:
    make_wheel(shelf.house, "pandas", "3.0", ["dask"])
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("pandas\n")
    folder = shelf.created("--requirements", requirements)
    lock = (folder / "requirements.lock").read_text()
    assert "pandas==3.0" in lock
    assert lock.count("dask==1.0") == 1
    assert run_python(folder, "import pandas; print(pandas.VERSION)") == "3.0"


def test_other_wheels_come_with_what_they_need(shelf: Shelf, tmp_path: Path) -> None:
    make_wheel(shelf.house, "wind", "2.0")
    own = make_wheel(tmp_path, "weather", "0.3", ["wind"])
    folder = shelf.created("--wheel", own)
    assert run_python(folder, "import weather, wind; print(weather.VERSION, wind.VERSION)") == "0.3 2.0"
    assert (folder / "wheels" / own.name).exists(), "the lock names it: it is kept"


# What is refused, and leaves everything as it was.


def test_a_conflict_is_said_in_uvs_words(shelf: Shelf, tmp_path: Path) -> None:
    shelf.created()
    make_wheel(shelf.house, "dask", "2.0")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("dask>=2\n")
    said = shelf.refused("--requirements", requirements)
    assert "Resolving the requirements failed" in said
    assert "dask==1.0" in said
    assert "dask>=2" in said
    assert names_in(shelf.path.parent) == [".default.lock", "default", "default.1"]
    assert run_python(shelf.path, WHO_AM_I).endswith("1.0")


def test_a_file_with_another_hash_is_not_installed(shelf: Shelf) -> None:
    make_wheel(shelf.house, "dask", code="print('somebody else was here')\n")
    said = shelf.refused()
    assert "Installing the packages failed" in said
    assert "hash" in said.lower()
    assert not shelf.path.exists()


def test_what_does_not_run_is_not_linked(shelf: Shelf) -> None:
    make_wheel(shelf.house, "dask", code="raise RuntimeError('broken on this machine')\n")
    shelf.relock()
    said = shelf.refused()
    assert "What was installed does not run" in said
    assert "broken on this machine" in said
    assert not shelf.path.is_symlink()


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_a_path_that_is_something_else_is_left_alone(shelf: Shelf, there: str) -> None:
    shelf.path.parent.mkdir()
    if there == "folder":
        (shelf.path / "work").mkdir(parents=True)
    elif there == "file":
        shelf.path.write_text("mine")
    else:
        shelf.path.symlink_to("elsewhere")
    said = shelf.refused()
    assert str(shelf.path) in said
    assert "name another path" in said
    assert names_in(shelf.path.parent) == [".default.lock", "default"]


@pytest.mark.parametrize(
    ("said_by_tool", "expected"), [("No space left on device (os error 28)", True), ("something else", False)]
)
def test_a_full_disk_is_said_as_such(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, said_by_tool: str, expected: bool
) -> None:
    def fail(*_: object) -> None:
        raise CannotBuild(f"Installing the packages failed (exit code 2):\n{said_by_tool}")

    monkeypatch.setattr(building, "run_uv", fail)
    said = shelf.refused()
    assert (f"The disk of {shelf.path.parent} is full" in said) is expected


def test_two_wheels_of_the_client_are_one_too_many(shelf: Shelf, tmp_path: Path) -> None:
    other = make_wheel(tmp_path, "sampan", "0.2.0")
    assert "are both the client: give one of them" in shelf.refused("--wheel", other)


def test_what_is_no_wheel_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    other = tmp_path / "sampan.tar.gz"
    other.touch()
    assert f"{other} is no wheel" in shelf.refused("--wheel", other)


def test_only_one_builds_at_a_time(shelf: Shelf) -> None:
    shelf.path.parent.mkdir()
    with versions.locked(shelf.path):
        assert "Another `sampan env` works on" in shelf.refused()


# New versions.


LATE = """
import sys, sysconfig
print("ready", flush=True)
sys.stdin.readline()
import ipykernel
print(ipykernel.VERSION, ipykernel.__file__)
print(sys.executable, sysconfig.get_path("purelib"), [entry for entry in sys.path if "default/" in entry])
"""


def test_what_runs_keeps_its_version(shelf: Shelf) -> None:
    first = shelf.created()
    argv = [shelf.path / "bin" / "python", "-I", "-c", LATE]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        (shelf.house / "ipykernel-1.0-py3-none-any.whl").unlink()
        make_wheel(shelf.house, "ipykernel", "2.0")
        shelf.relock()
        assert shelf.created().name == "default.2"
        late, _ = running.communicate("go on\n", timeout=30)
    packages = next(first.glob("lib/python3.*/site-packages"))
    assert late.splitlines() == [f"1.0 {packages}/ipykernel.py", f"{first}/bin/python {packages} []"]
    assert run_python(shelf.path, "import ipykernel; print(ipykernel.VERSION)") == "2.0"


WATCH = """
import os, sys
print("ready", flush=True)
misses = 0
while not os.path.exists(sys.argv[2]):
    misses += not os.path.exists(sys.argv[1])
print(misses)
"""


def test_the_link_leads_somewhere_at_every_moment(shelf: Shelf, tmp_path: Path) -> None:
    shelf.path.parent.mkdir()
    folders = [versions.begin(shelf.path), versions.begin(shelf.path)]
    versions.switch(shelf.path, folders[0])
    argv = [sys.executable, "-c", WATCH, shelf.path, tmp_path / "stop"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "ready\n"
        for number in range(500):
            versions.switch(shelf.path, folders[number % 2])
        (tmp_path / "stop").touch()
        misses, _ = watcher.communicate(timeout=30)
    assert misses == "0\n"


def test_a_build_that_was_killed_is_swept_and_never_linked(shelf: Shelf) -> None:
    shelf.created()
    half = versions.begin(shelf.path)
    (half / "bin").mkdir()
    (half / "bin" / "python").symlink_to(SYSTEM_PYTHON)
    empty = versions.folder_of(shelf.path, 3)
    empty.mkdir()
    theirs = versions.folder_of(shelf.path, 7)
    theirs.mkdir()
    (theirs / "notes.txt").write_text("not Sampan's")
    folder = shelf.created()
    assert folder.name == "default.8", "beyond what is there"
    assert not half.exists()
    assert not empty.exists()
    assert (theirs / "notes.txt").exists()


# The Python it is built on.


def test_a_python_that_others_cannot_read_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    python = closed / "python3"
    python.symlink_to(SYSTEM_PYTHON)
    barrier = readable.find_barrier(python)
    assert barrier is not None
    # The link itself is not what an environment is built on: its target is, and everybody can read that.
    assert interpreter.choose_interpreter(python).executable == Path(SYSTEM_PYTHON).resolve()
    script = closed / "python4"
    script.write_text(f'#!/bin/sh\necho \'[[3, 11, 2], "{script}", "/usr/lib"]\'\n')
    script.chmod(0o755)
    said = shelf.refused("--python", script)
    assert "cannot be read by everybody" in said
    assert "has mode 0700" in said
    assert "--python" in said


def test_an_old_python_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\necho \'[[3, 9, 2], "/usr/bin/python3", "/usr/lib"]\'\n')
    script.chmod(0o755)
    assert f"{script} is Python 3.9.2: name a Python 3.11 or newer with --python" in shelf.refused("--python", script)


def test_what_is_no_python_is_refused(shelf: Shelf) -> None:
    assert "does not run" in shelf.refused("--python", "/bin/false")


def test_without_a_good_python_all_that_was_looked_at_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("python3", "python3.12", "python3.12-config"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(interpreter, "PLACE", tmp_path)
    with pytest.raises(CannotBuild, match=r"python3 does not run .*; .*python3.12 does not run"):
        interpreter.choose_interpreter(None)


# Parts.


def test_barriers_are_found_on_both_ways(tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        assert readable.find_barrier(root) == root
        root.chmod(0o755)
        (root / "in").mkdir()
        (root / "in").chmod(0o700)
        (root / "in" / "file").touch()
        (root / "in" / "file").chmod(0o644)
        (root / "link").symlink_to("in/file")
        assert readable.find_barrier(root / "link") == root / "in"
        (root / "in").chmod(0o711)
        assert readable.find_barrier(root / "link") is None
        (root / "in" / "file").chmod(0o640)
        assert readable.find_barrier(root / "link") == root / "link"
        assert readable.describe_barrier(root / "in" / "file") == f"{root}/in/file has mode 0640"
    finally:
        shutil.rmtree(root)


def test_the_hubs_wheel_carries_the_files_that_the_clone_has() -> None:
    hook = (packaged.CLONE / "hub" / "hatch_build.py").read_text()
    for name, place in packaged.IN_CLONE.items():
        relative = os.path.relpath(packaged.CLONE / place, packaged.CLONE / "hub")
        assert f'"{name}": "{relative}"' in hook
        assert packaged.find_packaged(name) == packaged.CLONE / place


def test_the_clients_wheel_is_found_beside_the_hubs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Hub:
        version = "0.1.0"

        def read_text(self, _: str) -> str:
            return json.dumps({"url": (tmp_path / "sampan_hub-0.1.0-py3-none-any.whl").as_uri()})

    monkeypatch.setattr(wheels, "distribution", lambda _: Hub())
    with pytest.raises(CannotBuild, match="name it with --wheel"):
        wheels.find_client_wheel()
    make_wheel(tmp_path, "sampan", "0.0.9")
    client = make_wheel(tmp_path, "sampan", "0.1.0")
    assert wheels.find_client_wheel() == client


# Removing what nobody needs.


def at(hour: float) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=hour)


MADE = {1: at(1), 2: at(2), 3: at(3), 4: at(4)}


@pytest.mark.parametrize(
    ("job", "used"),
    [
        (JobTimes(at(1.5), at(1.6)), {1}),
        (JobTimes(at(1.5), at(2.5)), {1, 2}),  # whichever it found when it began
        (JobTimes(at(1.5), None), {1, 2, 3, 4}),
        (JobTimes(at(4.5), at(4.6)), {4}),
        (JobTimes(at(0.5), at(0.6)), set()),  # it runs from something older still
        (JobTimes(at(2.01), at(2.02)), {1, 2}),  # clocks differ a little
    ],
)
def test_a_job_keeps_the_versions_it_may_have_found(job: JobTimes, used: set[int]) -> None:
    verdict = prune.judge(None, MADE, [job], {})
    assert set(verdict.keep) == used
    assert set(verdict.remove) == set(MADE) - used


def test_the_one_in_use_and_the_one_before_stay() -> None:
    verdict = prune.judge(4, MADE, [], {1: 2})
    assert verdict.remove == [2]
    assert verdict.keep == {
        1: "2 processes of this machine run from it",
        3: "it is the one before",
        4: "it is the one in use",
    }
    back = prune.judge(2, MADE, [], {})
    assert (set(back.keep), back.remove) == ({1, 2}, [3, 4]), "somebody moved the link back"


def test_processes_are_found_by_the_files_they_have_open(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "maps").write_text("7f00-7f01 r-xp 00000000 fe:00 1 /shared/default.1/lib/x.so\n")
    (tmp_path / "13").mkdir()
    assert prune.count_mapped({1: Path("/shared/default.1"), 11: Path("/shared/default.11")}, tmp_path) == {1: 1, 11: 0}


def test_pruning_asks_what_runs_and_keeps_that(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        folder = versions.begin(shelf.path) if shelf.path.parent.exists() else shelf.created()
        if not (folder / versions.MARK).exists():
            versions.finish(folder, versions.Mark(at(0).isoformat(), "0.1.0", "3.11.2", SYSTEM_PYTHON, {}))
        versions.switch(shelf.path, folder)
    halves = versions.begin(shelf.path)
    jobs = {"jobs": [{"state": "queued", "created_at": "2026-01-01T00:00:00Z", "started_at": None}]}
    monkeypatch.setattr("sampan_hub.cli.env.ask_jobs", lambda _: jobs)
    command = ["env", "prune", str(shelf.path)]
    said = CliRunner().invoke(main, command).output
    assert "1 job may run from it" in said
    assert f"removed {halves}" in said
    assert names_in(shelf.path.parent) == [".default.lock", "default", *(f"default.{number}" for number in range(1, 5))]
    jobs["jobs"][0]["state"] = "ended"
    said = CliRunner().invoke(main, command).output
    assert f"removed {shelf.path}.1\n" in said
    assert names_in(shelf.path.parent) == [".default.lock", "default", "default.3", "default.4"]


def test_pruning_without_knowing_what_runs_removes_nothing(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.path.parent.mkdir()
    for _ in range(3):
        folder = versions.begin(shelf.path)
        versions.finish(folder, versions.Mark(at(0).isoformat(), "0.1.0", "3.11.2", SYSTEM_PYTHON, {}))
        versions.switch(shelf.path, folder)
    settings = tmp_path / "sampan.yaml"
    settings.write_text("state_dir: nowhere\n")
    command = ["--config", str(settings), "env", "prune", str(shelf.path)]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert "Nothing here says which jobs run" in refused.output
    assert versions.folder_of(shelf.path, 1).exists()
    assert CliRunner().invoke(main, [*command, "--force"]).exit_code == 0
    assert not versions.folder_of(shelf.path, 1).exists()


def test_an_installation_that_does_not_answer_in_time_is_one_of_which_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(argv: list[str], *, timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(argv, timeout)

    site = Site(Settings(state_dir=tmp_path), None)
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(CannotBuild, match="--force"):
        ask_jobs(site)
