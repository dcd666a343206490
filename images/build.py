"""Builds the images and pushes them: the same input makes the same digest. Standard library only.

    build.py build [--base-image NAME] [--tag TAG] [IMAGE…]
    build.py push [--tag TAG] REGISTRY [IMAGE…]

The first of buildah, podman and docker that is installed does it. A tag is the version of the package inside.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("buildah", "podman", "docker")
BASE_IMAGE = "python:3.11-slim-bookworm"
MADE_AT = 315532800
"""1980-01-01, of every file and of the image. It never moves, so that what did not change keeps its digest; zip files
know no earlier time."""
PROXY = "sampan/proxy:1"
"""The hub's image by the version of the proxy in it. It rises when what the proxy does has changed, not with every
version of Sampan: a proxy that is replaced breaks every connection, one that stays lets an upgrade pass unnoticed."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", "*.egg-info")


@dataclass(frozen=True, slots=True)
class Image:
    """`package` says its version; `parts` of the clone (beside compile.py) are all that its Containerfile sees; `also`
    are other names of the same image."""

    name: str
    package: str
    parts: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        return f"sampan/{self.name}"

    @property
    def version(self) -> str:
        project = tomllib.loads((ROOT / self.package / "pyproject.toml").read_text())["project"]
        return str(project["version"])

    def reference(self, tag: str | None = None) -> str:
        return f"{self.repository}:{tag or self.version}"

    def references(self, tag: str | None = None) -> tuple[str, ...]:
        """All its names; with another tag than its version's only that one."""
        return (self.reference(tag), *(() if tag else self.also))


HUB = Image(
    "hub",
    "hub",
    (
        "hub/LICENSE",
        "hub/hatch_build.py",
        "hub/jupyterhub_config.py",
        "hub/proxy/package-lock.json",
        "hub/proxy/package.json",
        "hub/pyproject.toml",
        "hub/requirements.lock",
        "hub/src",
        "client/requirements.lock",
        "tools/build.lock",
        "tools/node.lock",
    ),
    also=(PROXY,),
)
NOTEBOOK = Image(
    "notebook",
    "client",
    (
        "client/LICENSE",
        "client/jupyter_server_config.d",
        "client/pyproject.toml",
        "client/requirements.lock",
        "client/src",
        "tools/build.lock",
    ),
)
POSTGRESQL = Image("postgresql", "hub", ("images/postgresql/serve",))
IMAGES = {image.name: image for image in (HUB, NOTEBOOK, POSTGRESQL)}


class CannotBuild(Exception):
    """What is missing or failed, and what helps."""


def make_build_argv(
    tool: str, image: Image, reference: str, base_image: str, context: Path, *, anew: bool = False
) -> list[str]:
    """Docker leaves the times of files as they are: its digests differ from build to build."""
    words = [tool, "build", "--file", str(ROOT / "images" / image.name / "Containerfile"), "--tag", reference]
    words += ["--build-arg", f"BASE_IMAGE={base_image}"]
    if Path(tool).name != "docker":
        words += ["--layers", "--timestamp", str(MADE_AT)]
    return [*words, *(["--no-cache"] if anew else []), str(context)]


def make_push_argvs(tool: str, reference: str, registry: str) -> list[list[str]]:
    target = f"{registry.rstrip('/')}/{reference}"
    return [[tool, "tag", reference, target], [tool, "push", target]]


def make_context(image: Image, folder: Path) -> None:
    """The image's parts of the clone, readable by all whatever this clone's umask was."""
    shutil.copy(ROOT / "images" / "compile.py", folder)
    for part in image.parts:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=LEFT_OUT)
        else:
            shutil.copy(source, target)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def find_tool() -> str:
    for tool in TOOLS:
        if shutil.which(tool):
            return tool
    raise CannotBuild(f"images are built with {' or '.join(TOOLS)}: install one (Debian: apt-get install buildah).")


def run(argv: Sequence[str]) -> None:
    if subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode:
        raise CannotBuild(f"`{' '.join(argv)}` failed; what it said is above.")


def build(tool: str, image: Image, options: argparse.Namespace) -> str:
    """The name of what was built."""
    reference = image.reference(options.tag)
    with tempfile.TemporaryDirectory(prefix=f"sampan-{image.name}-") as folder:
        make_context(image, Path(folder))
        run(make_build_argv(tool, image, reference, options.base_image, Path(folder), anew=options.no_cache))
    for other in image.references(options.tag)[1:]:
        run([tool, "tag", reference, other])
    return reference


def push(tool: str, image: Image, options: argparse.Namespace) -> str:
    """Its names in the registry."""
    names = image.references(options.tag)
    for name in names:
        for argv in make_push_argvs(tool, name, options.registry):
            run(argv)
    return " ".join(f"{options.registry.rstrip('/')}/{name}" for name in names)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build.py", description="Builds the images, and pushes them.")
    verbs = parser.add_subparsers(required=True)
    building = verbs.add_parser("build")
    building.set_defaults(act=build)
    base = "a Debian with python3 and its venv (default: %(default)s)"
    building.add_argument("--base-image", default=BASE_IMAGE, help=base)
    building.add_argument("--no-cache", action="store_true", help="make every layer anew")
    pushing = verbs.add_parser("push")
    pushing.set_defaults(act=push)
    pushing.add_argument("registry", metavar="REGISTRY", help="with the path below it, if there is one")
    for verb in (building, pushing):
        verb.add_argument("--tag", help="in place of the package's version")
        verb.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(IMAGES)} (default: all)")
    return parser


def main(words: Sequence[str]) -> None:
    parser = make_parser()
    options = parser.parse_args(words)
    if unknown := set(options.images) - IMAGES.keys():
        parser.error(f"no such image: {', '.join(sorted(unknown))} (there are {', '.join(IMAGES)})")
    tool = find_tool()
    for name in options.images or IMAGES:
        print(options.act(tool, IMAGES[name], options), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CannotBuild as error:
        sys.exit(f"sampan: {error}")
