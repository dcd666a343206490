"""Stand-ins for Slurm's commands: they note how they were called, and answer from a queue kept in a file.

They prove what reaches Slurm's programs, byte by byte; what the real ones make of it, `make test-slurm` proves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sampan_hub.privilege.policy import Policy

_PROGRAM = """#!/usr/bin/python3 -ISE
import fcntl, json, os, sys, time
folder = os.path.dirname(os.path.realpath(sys.argv[0]))
program = os.path.basename(sys.argv[0])
given = sys.stdin.read()
call = {"program": program, "argv": sys.argv[1:], "env": dict(os.environ), "stdin": given,
        "cwd": os.getcwd(), "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "pid": os.getpid()}
with open(f"{folder}/calls.jsonl", "a") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.write(json.dumps(call) + "\\n")
    calls.flush()
    with open(f"{folder}/queue.json", "r+") as file:
        queue = json.load(file)
        plan = queue["plans"].get(program, {})
        options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
        if plan.get("code", 0) == 0 or plan.get("arrives"):
            if program == "sbatch":
                queue["last"] += 1
                queue["jobs"][queue["last"]] = {"name": options["job-name"], "folder": options["chdir"],
                                                "tasks": options.get("array"), "open": True}
                print(queue["last"])
            elif program in ("squeue", "sacct"):
                for number, job in queue["jobs"].items():
                    if job["open"] is not (program == "squeue") or options.get("name", job["name"]) != job["name"]:
                        continue
                    if "states" in options or program == "sacct":
                        print(f"{number}|{job['folder']}")
                        continue
                    first, _, last = (job["tasks"] or "").partition("-")
                    for task in range(int(first), int(last) + 1) if job["tasks"] else ["N/A"]:
                        if f"{number}_{task}" not in queue["ended"]:
                            print(f"{number}|{task}|{job['name']}")
            else:
                queue["ended"] += sys.argv[1:]
                for number, job in queue["jobs"].items():
                    job["open"] = job["open"] and number not in sys.argv[1:]
            file.seek(0), file.truncate(), json.dump(queue, file), file.flush()
sys.stdout.write(plan.get("out", ""))
sys.stdout.flush()
sys.stderr.write(plan.get("err", ""))
if plan.get("hangs"):
    open(f"{folder}/{program}.hangs", "w").close()
    time.sleep(600)
if plan.get("killed"):
    os.kill(os.getppid(), 9)
sys.exit(plan.get("code", 0))
"""
PROGRAMS = ("sbatch", "scancel", "squeue", "sacct")


class Standins:
    """A folder with the four programs, their queue, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for name in PROGRAMS:
            program = folder / name
            program.write_text(_PROGRAM)
            program.chmod(0o755)
        self._queue = folder / "queue.json"
        self._calls = folder / "calls.jsonl"
        self._write({"last": 100, "jobs": {}, "ended": [], "plans": {}})
        self._calls.touch()

    def policy(self, **more: Any) -> Policy:
        """Settings that name these programs."""
        return Policy(**{name: str(self.folder / name) for name in PROGRAMS}, **more)

    def plan(self, program: str, **plan: Any) -> None:
        """How the program behaves from now on: `code`, `err`, `out`, `hangs`; `arrives`: it took effect all the same;
        `killed`: it kills whoever started it."""
        self._write(self.queue | {"plans": {program: plan} if plan else {}})

    @property
    def queue(self) -> dict[str, Any]:
        """The jobs as the stand-ins know them."""
        return dict(json.loads(self._queue.read_text()))

    def add(self, name: str, folder: str = "/elsewhere", tasks: str | None = None, is_open: bool = True) -> int:
        """Puts a job there that nobody submitted here."""
        queue = self.queue
        queue["last"] += 1
        queue["jobs"][queue["last"]] = {"name": name, "folder": folder, "tasks": tasks, "open": is_open}
        self._write(queue)
        return int(queue["last"])

    def end(self, job: int) -> None:
        """The job is in accounting only."""
        queue = self.queue
        queue["jobs"][str(job)]["open"] = False
        self._write(queue)

    def calls(self, program: str | None = None) -> list[dict[str, Any]]:
        """What was asked so far, of that program or of all."""
        found = [json.loads(line) for line in self._calls.read_text().splitlines()]
        return [call for call in found if program in (None, call["program"])]

    def is_hanging(self, program: str) -> bool:
        """Whether the program has begun to hang."""
        return (self.folder / f"{program}.hangs").exists()

    def _write(self, queue: dict[str, Any]) -> None:
        self._queue.write_text(json.dumps(queue))
