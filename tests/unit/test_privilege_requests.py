"""What `sampan-run-as` takes and what it refuses, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.requests import (
    MAX_FILES,
    MAX_JOBS,
    MAX_LOG_LINES,
    MAX_REQUEST_BYTES,
    Cancel,
    Log,
    Remove,
    Request,
    parse_request,
    render_request,
)
from tests.support.slurm_requests import BATCH, INSTANCE, NAME, STAGE, make_options, make_submit

FULL = make_options(
    partition="gpu,gpu-long", account="chem.group", qos="high", reservation="course@june",
    constraint="(a100|h100)&ib",
    gres="gpu:a100:2", cpus=16, memory_mb=64_000, gpus=2, minutes=480, tasks=(0, 999),
    directives=("--exclusive=user", "--licenses=matlab:1,ansys@server:2", "--contiguous", "--exclude=node[1-3,7]"),
)  # fmt: skip
REQUESTS: list[Request] = [
    make_submit("ana"),
    make_submit("ana", FULL, script_python="/shared/env-2.1/bin/python3.11"),
    Cancel("ana", ("123", "123_0", "4_77"), f"sampan.{INSTANCE}."),
    Cancel("ana", (), NAME),
    Log("ana", STAGE, "job.log", 1),
    Log("ana@site.example", STAGE, "0.log", MAX_LOG_LINES),
    Remove("ana", (STAGE,)),
]

EVIL_TEXTS = [
    "", " ", "-", "--uid=0", "a b", "a\nb", "a\n", "\na", "a\r", "a\t", "a\0b", "a'b", 'a"b', "a`id`",
    "$(id)", "${HOME}", "a;b",
    "a|b>c", "a\\b", "%j", "{{7*7}}", "${{x}}", "<%=x%>", "#SBATCH --uid=0", "\n#SBATCH --wrap=id", "é", "ａ",
    "а", "\u202e", "\ud800",
    "\u0661", "~root", "../../etc", "/../..", "x" * 5000, "a\u2028b", "*", "!", "a,,b",
]  # fmt: skip
WRONG_TYPES: list[Any] = [None, True, False, 0, 1, -1, 10**30, [], {}, ["x"], {"x": 1}, [[]], ""]


def refusal(verb: str, value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(RunAsError) as refused:
        parse_request(verb, data)
    assert refused.value.code == "request"
    return refused.value.text


def payload(request: Request, **changed: Any) -> tuple[str, dict[str, Any]]:
    verb, data = render_request(request)
    return verb, json.loads(data) | changed


@pytest.mark.parametrize("request_", REQUESTS)
def test_what_is_rendered_is_read_back(request_: Request) -> None:
    assert parse_request(*render_request(request_)) == request_


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_field_is_needed_and_no_other_taken(request_: Request) -> None:
    verb, fields = payload(request_)
    for name in fields:
        assert name in refusal(verb, {key: value for key, value in fields.items() if key != name})
    for extra in ("uid", "env", "argv", "wrap", "__proto__", ""):
        assert "not known" in refusal(verb, fields | {extra: "x"})
    if "options" in fields:
        for name in fields["options"]:
            options = {key: value for key, value in fields["options"].items() if key != name}
            assert f"options.{name}" in refusal(verb, fields | {"options": options})
        for extra in ("output", "export", "uid", "array", "wrap", "chdir"):
            assert "not known" in refusal(verb, fields | {"options": fields["options"] | {extra: "x"}})


TEXT_FIELDS = {"submit": ("user", "stage", "script_python"), "cancel": ("user", "name_prefix"),
               "log": ("user", "stage", "file"), "stage": ("user",)}  # fmt: skip
LIST_FIELDS = {"cancel": "slurm_jobs", "stage": "remove"}
OPTION_TEXTS = ("name", "comment", "partition", "account", "qos", "reservation", "constraint", "gres")
OPTION_NUMBERS = {"cpus": (1, 65_536), "memory_mb": (1, 1 << 30), "gpus": (0, 1024), "minutes": (1, 5_256_000)}
MAY_BE_NONE = {"partition", "account", "qos", "reservation", "constraint", "gres", "minutes", "tasks"}
FREE = {"constraint": ["-", "*", "a,,b"], "gres": ["-", "a,,b"]}
"""What is odd but harmless in one argument of its own: Slurm refuses it."""


@pytest.mark.parametrize("request_", [REQUESTS[1], REQUESTS[2], REQUESTS[4], REQUESTS[6]])
def test_no_text_but_of_its_form_and_no_other_type(request_: Request) -> None:
    verb, fields = payload(request_)
    for name in TEXT_FIELDS[verb]:
        for evil in [*EVIL_TEXTS, *WRONG_TYPES]:
            assert name in refusal(verb, fields | {name: evil}), (name, evil)
        for mark in ("\n", "\0", " ", "'", "/", "%", "\u0130"):
            for changed in (fields[name] + mark, mark + fields[name]):
                if name == "script_python" and mark == "/":
                    continue
                assert name in refusal(verb, fields | {name: changed}), (name, changed)
    if name := LIST_FIELDS.get(verb):
        for evil in [*EVIL_TEXTS, *(wrong for wrong in WRONG_TYPES if wrong != [])]:
            assert name in refusal(verb, fields | {name: evil})
            assert name in refusal(verb, fields | {name: [fields[name][0], evil]})


def test_no_option_but_of_its_form() -> None:
    _, fields = payload(REQUESTS[1])

    def of(**changed: Any) -> dict[str, Any]:
        return fields | {"options": fields["options"] | changed}

    for name in OPTION_TEXTS:
        for evil in [*EVIL_TEXTS, *WRONG_TYPES]:
            if (evil is None and name in MAY_BE_NONE) or evil in FREE.get(name, ()):
                parse_request("submit", json.dumps(of(**{name: evil})).encode())
            else:
                assert name in refusal("submit", of(**{name: evil})), (name, evil)
    for name, (low, high) in OPTION_NUMBERS.items():
        for good in (low, high):
            parse_request("submit", json.dumps(of(**{name: good})).encode())
        for evil in (low - 1, high + 1, -1, True, False, str(low), [low], {}, 10**40):
            assert name in refusal("submit", of(**{name: evil}))
        assert "whole" in refusal("submit", json.dumps(of(**{name: 77777})).replace("77777", "1.0").encode())
    for evil in [
        [0],
        [0, 1, 2],
        [1, 0],
        [-1, 0],
        [0, 1_000_001],
        [0, True],
        ["0", 1],
        "0-1",
        0,
        {},
        [[0, 1]],
        [None, 1],
    ]:
        assert "tasks" in refusal("submit", of(tasks=evil))


FORBIDDEN = [
    "wrap=id", "uid=0", "gid=0", "export=ALL", "export-file=/etc/shadow", "output=/x", "error=/x",
    "input=/etc/shadow", "array=0-9",
    "chdir=/", "job-name=x", "comment=x", "mail-type=ALL", "mail-user=x@y", "dependency=afterok:1",
    "get-user-env", "clusters=other",
    "requeue", "hold", "wait", "bb=x", "bbf=/x", "container=/x", "nodefile=/etc/shadow", "propagate=ALL",
    "profile=all", "partition=x",
    "account=x", "qos=x", "time=1", "mem=0", "nodes=100", "ntasks=9", "gres=gpu:9", "open-mode=truncate",
    "signal=KILL", "parsable",
    "begin=now", "deadline=now", "batch=x", "power=x", "priority=TOP", "test-only", "version", "help",
    "usage", "quiet", "ignore-pbs",
    "reboot", "kill-on-invalid-dep=yes", "no-kill", "acctg-freq=1", "extra-node-info=1", "delay-boot",
    "nice=-100", "nice=",
    "exclusive=root", "exclusive=", "nodelist=/etc/shadow", "exclude=a/b", "licenses=a b", "licenses=$(id)",
    "tmp=1;id", "hint=x",
    "switches=a", "contiguous=yes", "spread-job=", "nodelist", "wckey=a\nb", "network=a'b", "exclu",
    "Exclusive", "exclusive\n",
]  # fmt: skip


def test_a_site_adds_only_options_that_place_jobs() -> None:
    _, fields = payload(REQUESTS[0])

    def of(directives: Any) -> dict[str, Any]:
        return fields | {"options": fields["options"] | {"directives": directives}}

    for evil in [
        *(f"--{text}" for text in FORBIDDEN),
        *EVIL_TEXTS,
        "-p x",
        "exclusive",
        "--",
        "---exclusive",
        "--exclusive --uid=0",
    ]:
        assert "directive" in refusal("submit", of([evil])), evil
        assert "directive" in refusal("submit", of(["--contiguous", evil])), evil
    for wrong in (
        *(wrong for wrong in WRONG_TYPES if wrong != []),
        [None],
        [["--contiguous"]],
        [1],
        ["--contiguous"] * 33,
    ):
        assert "directive" in refusal("submit", of(wrong))
    good = [
        "--exclusive",
        "--nice=100",
        "--switches=1@10:00",
        "--gres-flags=enforce-binding",
        "--tmp=10G",
        "--hint=nomultithread",
    ]
    parse_request("submit", json.dumps(of(good)).encode())


def test_files_are_plain_names_and_base64() -> None:
    _, fields = payload(REQUESTS[0])

    def of(files: Any) -> dict[str, Any]:
        return fields | {"files": files}

    start = {"start.py": "eA=="}
    for name in [
        *EVIL_TEXTS,
        "submitted.json",
        ".lock",
        ".submitted.json",
        "job.log",
        "12.log",
        "a/b.py",
        "/etc/passwd",
        "A.py",
        "noend",
        "a.b.c",
    ]:
        assert "files" in refusal("submit", of(start | {name: "eA=="})), name
    for content in (*WRONG_TYPES[:-1], "e", "eA", "eA=", "eA==\n", " eA==", "eA==eA==", "e-_=", "é", "=", "eA=a"):
        assert "files.batch.json" in refusal("submit", of(start | {"batch.json": content})), content
    for wrong in (*WRONG_TYPES, {"batch.json": "eA=="}, start | {f"f{number}.x": "" for number in range(MAX_FILES)}):
        assert "files" in refusal("submit", of(wrong))
    parsed = parse_request("submit", json.dumps(of(start | {"empty.txt": ""})).encode())
    assert parsed.files == {"start.py": b"x", "empty.txt": b""}  # type: ignore[union-attr]  # it is a submit


def test_a_stage_is_named_after_its_job() -> None:
    other = f"sampan.{INSTANCE}.{BATCH}.1.0"
    assert "named after" in refusal(*payload(make_submit("ana", stage=other)))
    parse_request(*render_request(make_submit("ana", stage=f"{NAME}.500")))


def test_there_is_a_most_of_everything() -> None:
    assert "slurm_jobs" in refusal(*payload(REQUESTS[2], slurm_jobs=["1"] * (MAX_JOBS + 1)))
    assert "remove" in refusal(*payload(REQUESTS[6], remove=[STAGE] * 1001))
    assert "lines" in refusal(*payload(REQUESTS[4], lines=MAX_LOG_LINES + 1))
    for lines in (0, -1, True, "1", None):
        assert "lines" in refusal(*payload(REQUESTS[4], lines=lines))
    assert "bytes" in refusal("log", b" " * (MAX_REQUEST_BYTES + 1))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"1", b'"x"', b"{", b"{}x", b"\xff", b"\xef\xbb\xbf{}", b"{'user':1}",
        b"[" * 200_000, b'{"a":' * 200_000,
        b'{"lines": NaN}', b'{"lines": Infinity}', b'{"lines": 1e3}', b'{"lines": ' + b"9" * 100_000 + b"}",
        "{}".encode("utf-16"),
        b'{"user":"ana","user":"root"}', b'{"options": {"name": 1, "name": 1}}',
    ],
)  # fmt: skip
def test_what_is_not_one_json_object_is_refused(data: bytes) -> None:
    for verb in ("submit", "cancel", "log", "stage"):
        refusal(verb, data)


@pytest.mark.parametrize("verb", ["", "Submit", "submit ", "run", "shell", "../submit", "__class__"])
def test_there_are_four_verbs(verb: str) -> None:
    assert "verb" in refusal(verb, payload(REQUESTS[0])[1])
