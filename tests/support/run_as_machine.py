"""A machine of its own for `sampan-run-as`, in private mounts: accounts, sudo, root-owned settings and code.

Run as root inside `unshare --mount`: `python run_as_machine.py SOURCE STANDINS`, the plan as JSON on standard input;
prints JSON. All it makes is gone when the process ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOM = Path("/opt")
PROGRAM = ROOM / "sampan/bin/sampan-run-as"
PEOPLE = {"ana": 2001, "ben": 2002, "ruler": 2003, "sampan": 990, "daemonic": 991}
HOMES = ROOM / "home"


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def make_machine(source: Path, standins: Path) -> None:
    """Accounts in an /etc of its own, the package in a folder of root's, Slurm's stand-ins."""
    mount("-t", "tmpfs", "-o", "mode=755", "none", str(ROOM))
    shutil.copytree("/etc", ROOM / "etc", symlinks=True)
    for name, uid in PEOPLE.items():
        shell = "/usr/sbin/nologin" if name == "daemonic" else "/bin/sh"
        with (ROOM / "etc/passwd").open("a") as file:
            file.write(f"{name}:x:{uid}:{uid}::{HOMES / name}:{shell}\n")
        with (ROOM / "etc/group").open("a") as file:
            file.write(f"{name}:x:{uid}:\n")
        with (ROOM / "etc/shadow").open("a") as file:
            file.write(f"{name}:*:19000:0:99999:7:::\n")
        (HOMES / name).mkdir(parents=True)
        (HOMES / name).chmod(0o700)
        os.chown(HOMES / name, uid, uid)
    with (ROOM / "etc/group").open("a") as file:
        file.write("chemists:x:3001:ana\nwheel:x:3002:ruler\n")
    mount("--bind", str(ROOM / "etc"), "/etc")
    package = ROOM / "sampan/lib/sampan_hub"
    package.mkdir(parents=True)
    shutil.copy(source / "__init__.py", package)
    shutil.copytree(source / "privilege", package / "privilege", ignore=shutil.ignore_patterns("__pycache__"))
    PROGRAM.parent.mkdir()
    PROGRAM.write_text(
        f"#!/usr/bin/python3 -I\nimport sys\nsys.path.insert(0, {str(package.parent)!r})\n"
        "from sampan_hub.privilege.__main__ import main\nsys.exit(main())\n"
    )
    PROGRAM.chmod(0o755)
    shutil.copytree(standins, ROOM / "slurm")
    for file in ("calls.jsonl", "queue.json"):
        (ROOM / "slurm" / file).chmod(0o666)
    for path in (ROOM / "sampan", *(ROOM / "sampan").rglob("*")):
        os.chown(path, 0, 0)
        path.chmod(0o755)


def call(step: dict[str, Any]) -> dict[str, Any]:
    """One call: by whom, how, with what on standard input; what came of it."""
    uid = PEOPLE.get(step.get("by", "root"), 0)
    argv = step.get("argv") or [str(PROGRAM), step["verb"]]
    if step.get("sudo", True):
        argv = ["/usr/bin/sudo", "-n", "--", *argv]
    given = step["input"] if isinstance(step.get("input"), str) else json.dumps(step.get("input", {}))
    environment = {"PATH": "/usr/bin:/bin", "PLANTED": "planted", "LD_LIBRARY_PATH": "/planted", "SBATCH_UID": "0",
                   "PYTHONPATH": "/planted", "SLURM_CONF": "/planted", "HOME": "/planted"}  # fmt: skip
    done = subprocess.run(
        argv, input=given, env=environment, user=uid, group=uid, extra_groups=[], cwd="/", text=True,
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    return {"code": done.returncode, "output": done.stdout, "errors": done.stderr}


def act(step: dict[str, Any]) -> dict[str, Any]:
    """A call, a file of root's written anew, or an owner or mode changed."""
    if "write" in step:
        path = Path(step["write"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step["text"])
        path.chmod(step.get("mode", 0o644))
        return {}
    if "chown" in step:
        os.chown(step["chown"], step["uid"], 0)
        return {}
    if "chmod" in step:
        Path(step["chmod"]).chmod(step["mode"])
        return {}
    return call(step)


def picture() -> dict[str, list[int]]:
    """Owner, group and mode of everything in people's homes."""
    found = {}
    for path in HOMES.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(HOMES))] = [status.st_uid, status.st_gid, status.st_mode & 0o7777]
    return found


def main() -> None:
    """Make the machine, go through the plan, show what is there in the end."""
    make_machine(Path(sys.argv[1]), Path(sys.argv[2]))
    answers = [act(step) for step in json.load(sys.stdin)]
    calls = [json.loads(line) for line in (ROOM / "slurm/calls.jsonl").read_text().splitlines()]
    json.dump({"answers": answers, "calls": calls, "homes": picture()}, sys.stdout)


if __name__ == "__main__":
    main()
