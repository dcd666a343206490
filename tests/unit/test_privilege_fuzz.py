"""Whatever comes in: it is refused, or what is run has exactly the typed form, and nothing outside the stage changes.

The form is written down here a second time, on purpose: from what may reach Slurm, not from the code.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.privilege import verbs
from sampan_hub.privilege.account import Account
from sampan_hub.privilege.commands import make_script, make_submit_argv
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.outcomes import Done
from sampan_hub.privilege.policy import Policy
from sampan_hub.privilege.requests import Cancel, Log, Remove, Request, parse_request, render_request
from sampan_hub.privilege.running import Deadline
from tests.support.slurm_requests import INSTANCE, NAME, STAGE, make_options, make_submit

PAYLOADS = 12_000
SEED = 20_260
HOSTILE = [
    "\n", "\r\n", "\0", "\t", " ", "#SBATCH --uid=0\n", "\n#SBATCH --wrap=id\n", "'", '"', "`id`", "$(id)",
    "${IFS}", "; id", "| id",
    "&& id", "> /etc/passwd", "\\", "\\n", "%j", "%u", "%%", "{{7*7}}", "${{x}}", "<%= x %>", "{0}",
    "{name.__class__}", "../", "/../../",
    "/etc/passwd", "--uid=0", "--wrap=id", " --uid=0", "=--uid=0", ",--uid=0", "é", "ａ", "\u202e", "\u2028",
    "\u0660", "\ud800", "😀",
    "\x1b[31m", "\x7f", "~", "*", "?", "[a-z]", "!", "a" * 300, "a" * 70_000, "0", "-1", "", "null", "true",
    "\ufeff", "\x85", "%00",
]  # fmt: skip
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**25, 1.0, 1.5, -0.0, 1e300, float("nan"), float("inf"),
    [], {}, [[]], [None], [True],
    ["x"], {"": ""}, {"x": {}}, [0, 1], [1, 0], [0, True], "0-1", "1", [[[[[]]]]], "root", "0", ["123",
    "1;id"], ["--contiguous"],
    ["--uid=0"], ["--exclusive",
    "--wrap=id"], [STAGE], [STAGE, "../x"], {"start.py": "eA=="}, {"start.py": "eA==", "../x": "eA=="},
]  # fmt: skip

NAME_FORM = r"sampan\.[a-z2-7]{8}\.[a-z2-7]{24}\.\d{1,6}"
WORD = r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}"
DIRECTIVE = (
    r"--(?:contiguous|oversubscribe|spread-job|use-min-nodes|exclusive(?:=(?:user|mcs))?"
    r"|(?:core-spec|delay-boot|mincpus|nice|thread-spec|threads-per-core)=\d{1,9}"
    r"|(?:exclude|nodelist)=[A-Za-z0-9][A-Za-z0-9._,\[\]-]*|(?:licenses|cpu-freq|gpu-freq|mcs-label|network|wckey)=[A-Za-z0-9._:,@+*=-]+"
    r"|gres-flags=(?:disable|enforce)-binding|hint=[a-z_]+|switches=\d+(?:@[0-9:-]+)?|tmp=\d+[KMGT]?|prefer=[A-Za-z0-9._&|()\[\]*,:+-]+)"
)  # fmt: skip
OPTIONAL = [
    rf"--partition={WORD}(?:,{WORD})*", rf"--account={WORD}", rf"--qos={WORD}", rf"--reservation={WORD}",
    r"--constraint=[A-Za-z0-9_.+*&|,:()\[\]-]{1,255}", r"--gres=[A-Za-z0-9_.+,:-]{1,255}", r"--time=[1-9]\d{0,6}",
    r"--array=\d{1,7}-\d{1,7}",
]  # fmt: skip


def sbatch_form(stage: str, folder: str) -> re.Pattern[str]:
    """The whole command line, its arguments separated by NUL: nothing may be between or after."""
    name = re.escape(stage.rpartition(".")[0])
    folder = re.escape(folder)
    fixed = [
        "/usr/bin/sbatch", "--parsable", "--no-requeue", "--export=ALL", "--propagate=NONE", r"--open-mode=append",
        rf"--chdir={folder}", rf"--output={folder}/(?:job|%a)\.log", rf"--job-name={name}",
        r"--comment=[A-Za-z0-9._:=-]{1,1000}",
        "--nodes=1", "--ntasks=1", r"--cpus-per-task=[1-9]\d{0,4}", r"--mem=[1-9]\d{0,9}M",
    ]  # fmt: skip
    text = "\0".join(fixed) + "".join(f"(?:\0{option})?" for option in OPTIONAL) + f"(?:\0{DIRECTIVE}){{0,32}}"
    return re.compile(text, re.ASCII)


class Machine:
    """Stands where programs would be run; checks each command line as it comes."""

    def __init__(self, home: str) -> None:
        self.jobs = f"{home}/.sampan/jobs"
        self.runs: Counter[str] = Counter()
        self.stage = ""

    def run(self, argv: Sequence[str], environment: Mapping[str, str], given: bytes, deadline: Deadline) -> Done:
        program = Path(argv[0]).name
        self.runs[program] += 1
        assert set(environment) == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"}
        assert not any("\0" in word for word in argv)
        line = "\0".join(argv)
        if program == "sbatch":
            folder = f"{self.jobs}/{self.stage}"
            assert sbatch_form(self.stage, folder).fullmatch(line), argv
            python = r"(?:/[A-Za-z0-9_@+.-]+)+"
            script = rf"#!/bin/sh\nexec {python} -I -S {re.escape(folder)}/start\.py\n"
            assert re.fullmatch(script, given.decode("ascii"), re.ASCII), given
            return Done(0, "123\n", "")
        assert given == b""
        if program == "scancel":
            assert re.fullmatch(r"/usr/bin/scancel(?:\0(?:123|124_[01]))+", line), argv
            return Done(0, "", "")
        assert line == "/usr/bin/squeue\0--me\0--all\0--noheader\0--array\0--format=%F|%K|%Z|%j", argv
        return Done(0, f"123|N/A|/|{NAME}\n124|0|/|{NAME}\n124|1|/|{NAME}\n125|N/A|/|mine\n", "")


VALID = [
    make_submit("ana"),
    make_submit(
        "ana",
        make_options(
            partition="gpu,long", account="chem", qos="high", reservation="course", constraint="a100&ib",
            gres="gpu:1",
            gpus=1, minutes=60, tasks=(0, 9), directives=("--exclusive=user", "--licenses=x:1"),
        ),
    ),
    Cancel("ana", ("123", "124_0", "7"), f"sampan.{INSTANCE}."),
    Log("ana", STAGE, "job.log", 100),
    Remove("ana", (STAGE,)),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in it but the whole."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def change(chance: random.Random, value: dict[str, Any]) -> None:
    """One thing in it becomes something else."""
    path = chance.choice(list(places(value)))
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, old = path[-1], holder[path[-1]]
    kind = chance.randrange(8)
    if kind == 0:
        holder[key] = chance.choice(ODD)
    elif kind == 1:
        holder[key] = chance.choice(HOSTILE)
    elif kind in (2, 3) and isinstance(old, str):
        place = chance.randrange(len(old) + 1)
        holder[key] = old[:place] + chance.choice(HOSTILE) + old[place:]
    elif kind == 4 and isinstance(old, str) and old:
        place = chance.randrange(len(old))
        holder[key] = old[:place] + chr(chance.choice([*range(128), 0xE9, 0x660, 0xFF21])) + old[place + 1 :]
    elif kind == 5 and isinstance(holder, dict):
        holder[chance.choice([*HOSTILE, "uid", "env", "wrap", "output", "export"])] = chance.choice([*ODD, old])
    elif kind == 6 and isinstance(holder, dict):
        del holder[key]
    elif isinstance(old, bool | int):
        holder[key] = chance.choice(
            [old + chance.randrange(-2, 3), chance.randrange(1, 2000), 10 ** chance.randrange(30)]
        )
    elif isinstance(old, list):
        holder[key] = old * chance.choice([2, 40, 2000]) if old else [chance.choice(HOSTILE)]


def garble(chance: random.Random, data: bytes) -> bytes:
    """The text itself damaged: bytes, ends, keys given twice, depth, other encodings."""
    kind = chance.randrange(7)
    place = chance.randrange(len(data))
    if kind == 0:
        return data[:place] + bytes([chance.randrange(256)]) + data[place + chance.randrange(2) :]
    if kind == 1:
        return data[:place]
    if kind == 2:
        return data[:-1] + b', "user": "root"}'
    if kind == 3:
        return data.replace(b'"options": {', b'"options": {"cpus": 1, "output": "/x", ', 1)[:-1] + b', "stage": "x"}'
    if kind == 4:
        depth = chance.choice([50, 5_000, 100_000])
        return data[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"
    if kind == 5:
        return data.decode().encode(chance.choice(["utf-16", "utf-32", "utf-8-sig"]))
    return data + chance.choice([b"\0", b"\n", b" ", data, b"{}", b"\xff", b" " * 5_000_000])


def make_payload(chance: random.Random) -> tuple[str, bytes]:
    verb, data = render_request(chance.choice(VALID))
    value = copy.deepcopy(json.loads(data))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        if value:
            change(chance, value)
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.15:
        text = garble(chance, text)
    if chance.random() < 0.05:
        verb = chance.choice(["submit", "cancel", "log", "stage", "", "run", "submit\n", "--help"])
    return verb, text


def read(verb: str, data: bytes) -> Request | None:
    """The request, or None for one that is refused as such, in words that are fit to be shown."""
    try:
        return parse_request(verb, data)
    except RunAsError as error:
        refusal = error
    assert refusal.code == "request"
    assert refusal.text.isprintable()
    return None


def picture(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in it: mode and content by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_mode, path.read_bytes() if path.is_file() else b"")
    return found


def test_no_payload_changes_anything_but_the_typed_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    (tmp_path / "others").write_text("not ana's")
    before = picture(tmp_path)
    machine, chance, outcomes = Machine(str(home)), random.Random(SEED), Counter[str]()
    monkeypatch.setattr(verbs, "run_program", machine.run)
    account = Account("ana", os.getuid(), os.getgid(), str(home), "/bin/bash")
    for number in range(PAYLOADS):
        verb, data = make_payload(chance)
        seen = sum(machine.runs.values())
        request = read(verb, data)
        if request is None:
            outcomes["refused"] += 1
            assert sum(machine.runs.values()) == seen
            continue
        outcomes[verb] += 1
        machine.stage = getattr(request, "stage", "")
        verbs.Doing(Policy(), account, Deadline()).do(request)
        after = picture(tmp_path)
        new = {path: what for path, what in after.items() if path not in before}
        assert {path: what for path, what in after.items() if path in before} == before, (number, data)
        check_stage(new, machine.stage, is_submit=verb == "submit")
        if verb == "submit":
            verbs.Doing(Policy(), account, Deadline()).do(Remove(account.name, (machine.stage,)))
    assert sum(outcomes.values()) == PAYLOADS
    assert outcomes["refused"] > PAYLOADS / 3, outcomes
    assert all(outcomes[verb] > 100 for verb in ("submit", "cancel", "log", "stage")), outcomes
    assert all(machine.runs[program] > 100 for program in ("sbatch", "scancel", "squeue")), machine.runs


def check_stage(new: dict[str, tuple[int, bytes]], stage: str, is_submit: bool) -> None:
    """What came into being is the stage with its own files, all private."""
    above = {"home/.sampan", "home/.sampan/jobs"}
    if not is_submit:
        assert set(new) <= above
        return
    folder = f"home/.sampan/jobs/{stage}"
    assert {path for path in new if not path.startswith(f"{folder}/")} == above | {folder}
    names = {path.removeprefix(f"{folder}/") for path in new if path.startswith(f"{folder}/")}
    assert {".lock", "start.py", "submitted.json"} <= names
    assert all(re.fullmatch(r"\.lock|[a-z][a-z0-9_-]*\.[a-z]+", name, re.ASCII) for name in names), names
    assert all(mode & 0o077 == 0 for mode, _ in new.values())


def test_the_form_itself_can_tell() -> None:
    """A command line with one more option, or a value that is not of its form, is noticed."""
    machine = Machine("/home/ana")
    machine.stage = STAGE
    folder = f"{machine.jobs}/{STAGE}"
    argv = make_submit_argv(Policy(), folder, make_options(partition="gpu"))
    environment = dict.fromkeys(["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"], "x")
    script = make_script("/usr/bin/python3", folder)
    machine.run(argv, environment, script, Deadline())
    for wrong in (
        [*argv, "--uid=0"], [*argv, "--partition=a b"], [*argv[:-1], "--partition=a\nb"], argv[1:], [*argv, ""],
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            machine.run(wrong, environment, script, Deadline())
    with pytest.raises(AssertionError):
        machine.run(argv, environment, script + b"id\n", Deadline())
    with pytest.raises(AssertionError):
        machine.run(argv, environment | {"LD_PRELOAD": "x"}, script, Deadline())
