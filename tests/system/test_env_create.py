"""From the wheels of `make dist` to an environment that everybody can use, on a machine that has no clone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan_hub.cli.environments import versions
from tests.support.installation import wait_until

ROOT = Path(__file__).parents[2]
UV = Path(sys.prefix) / "bin" / "uv"
NOBODY = 65534
PLAIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Host:
    """A machine with nothing of ours but what an administrator installs from the wheels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dist, self.opt = folder / "dist", folder / "opt"
        # Where packages come from is the machine's matter; which Pythons and environments we are in is not.
        ours = ("SAMPAN_", "PYTHON", "VIRTUAL_ENV", "PYENV")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment["PATH"] = PLAIN_PATH

    def install(self) -> None:
        for package in ("hub", "client"):
            words = ["build", "--quiet", "--build-constraints", ROOT / "tools" / "build.lock", "--out-dir", self.dist]
            self.run(UV, *words, ROOT / package)
        self.run(UV, "venv", "--quiet", "--python", "/usr/bin/python3", self.opt)
        pip = [UV, "pip", "install", "--quiet", "--python", self.opt / "bin" / "python"]
        self.run(*pip, "--require-hashes", "-r", ROOT / "hub" / "requirements.lock")
        self.run(*pip, "--no-deps", *self.dist.glob("sampan_hub-*.whl"))

    def run(self, *argv: str | Path, user: int | None = None, umask: int = 0o022, **variables: str) -> str:
        """What it prints, after it went well."""
        done = subprocess.run(
            [str(word) for word in argv],
            cwd="/",
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=480,
            umask=umask,
            user=user,
            group=user,
            extra_groups=None if user is None else (),
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
        return done.stdout

    def sampan(self, *words: str | Path) -> str:
        return self.run(self.opt / "bin" / "sampan", *words, umask=0o077)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="sampan-host-"))
    folder.chmod(0o755)  # pytest's own folders can be entered by nobody else
    made = Host(folder)
    made.install()
    yield made
    subprocess.run(["rm", "-rf", folder], check=True)  # a hundred thousand files


@pytest.mark.timeout(600)
def test_an_environment_from_wheels_for_everybody(host: Host) -> None:
    path = host.folder / "shared" / "default"
    more = host.folder / "more.txt"
    more.write_text("humanize\n")
    said = host.sampan("env", "create", path, "--requirements", more)
    assert f"{path} is default.1 now" in said

    code = "import dask.dataframe, distributed, humanize, jupyterlab, sampan, sys; print(sys.prefix, sampan.__file__)"
    printed = host.run(path / "bin" / "python", "-c", code, user=NOBODY, HOME="/nonexistent").split()
    own = path.with_name("default.1")
    assert printed[0] == str(own)
    assert printed[1].startswith(f"{own}/lib/"), "the wheel, not a clone"
    script = (own / "bin" / "jupyter-lab").read_text()
    assert script.startswith(f"#!{own}/bin/python\n"), "a server started by its script keeps its version too"
    assert "humanize==" in (path / "requirements.lock").read_text()

    # Killed in the middle of the next one: what is in use stays; the build after that starts afresh.
    argv = [str(host.opt / "bin" / "sampan"), "env", "create", str(path)]
    build = subprocess.Popen(argv, cwd="/", env=host.environment, stdout=subprocess.DEVNULL, start_new_session=True)
    half = path.with_name("default.2")
    wait_until(lambda: list(half.glob("lib/python3.*/site-packages/dask")), 120, "packages are being installed")
    os.killpg(build.pid, signal.SIGKILL)
    build.wait(20)
    assert (half / versions.BUILDING).exists()
    assert path.resolve() == own
    with versions.locked(path):
        assert versions.sweep(path) == [half]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("node", ["of the system", "of a wheel"])
def test_the_proxy_from_the_hubs_wheel(host: Host, node: str) -> None:
    if node == "of a wheel":
        bare = host.folder / "bare"
        bare.mkdir()
        (bare / "sh").symlink_to("/bin/sh")
        host.environment["PATH"] = str(bare)
    try:
        said = host.sampan("proxy", "install")
    finally:
        host.environment["PATH"] = PLAIN_PATH
    assert "configurable-http-proxy 5." in said
    folder = host.opt / "node"
    inside = (folder / "bin" / "node").resolve().is_relative_to(folder)
    assert inside is (node == "of a wheel")
    script = folder / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    assert host.run(folder / "bin" / "node", script, "--version", user=NOBODY).startswith("5.")
