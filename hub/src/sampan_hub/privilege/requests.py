"""What can be asked: four verbs, each with its fields. `parse_request` is the only way in. Pure."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sampan_hub.privilege import forms
from sampan_hub.privilege.directives import check_directive
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.strict import Fields, parse_object

MAX_REQUEST_BYTES = 4 * 1024 * 1024
MAX_FILES = 32
MAX_JOBS = 1000
MAX_STAGES = 1000
MAX_LOG_LINES = 10_000
MAX_TASK = 1_000_000
MAX_DIRECTIVES = 32
START_FILE = "start.py"
RECORD_FILE = "submitted.json"


class Options(NamedTuple):
    """What sbatch is told. None: it is not mentioned, so the cluster's own default holds."""

    name: str
    comment: str
    partition: str | None
    """One, or several to choose from, with commas."""
    account: str | None
    qos: str | None
    reservation: str | None
    constraint: str | None
    gres: str | None
    cpus: int
    memory_mb: int
    gpus: int
    """Asked for as `gpu:N`, unless `gres` says how."""
    minutes: int | None
    tasks: tuple[int, int] | None
    """First and last task of an array; None: a plain job."""
    directives: tuple[str, ...]


class Submit(NamedTuple):
    """Put one job or array into the queue, at most once per stage."""

    user: str
    stage: str
    files: Mapping[str, bytes]
    script_python: str
    options: Options


class Cancel(NamedTuple):
    """End these jobs and tasks, as far as they are open, the user's own and named with this prefix."""

    user: str
    slurm_jobs: tuple[str, ...]
    name_prefix: str


class Log(NamedTuple):
    """The end of one output file of one stage."""

    user: str
    stage: str
    file: str
    lines: int


class Remove(NamedTuple):
    """Remove these stages and all that is in them."""

    user: str
    stages: tuple[str, ...]


Request = Submit | Cancel | Log | Remove
VERBS = ("submit", "cancel", "log", "stage")


def _files(value: object) -> dict[str, bytes]:
    names = tuple(value) if type(value) is dict else ()
    fields = Fields(value, names, "files.")
    if len(names) > MAX_FILES or START_FILE not in names:
        raise RunAsError("request", f"files does not have {START_FILE} and at most {MAX_FILES} in all.")
    found = {}
    for name in names:
        if forms.FILE_NAME.fullmatch(name) is None or name == RECORD_FILE or forms.LOG_NAME.fullmatch(name):
            raise RunAsError("request", "A name in files is not one that a stage may have.")
        try:
            found[name] = binascii.a2b_base64(fields.text(name, forms.BASE64), strict_mode=True)
        except binascii.Error:
            raise RunAsError("request", f"The content of files.{name} is not base64.") from None
    return found


def _tasks(value: object) -> tuple[int, int]:
    if type(value) is not list or len(value) != 2 or any(type(task) is not int for task in value):
        raise RunAsError("request", "options.tasks is not a first and a last number.")
    first, last = value
    if not 0 <= first <= last <= MAX_TASK:
        raise RunAsError("request", "options.tasks is not a range of task numbers.")
    return first, last


def _options(value: object) -> Options:
    fields = Fields(value, Options._fields, "options.")
    asked = fields.object("directives")
    if type(asked) is not list or len(asked) > MAX_DIRECTIVES or any(type(text) is not str for text in asked):
        raise RunAsError("request", "options.directives is not a list of texts.")
    return Options(
        name=fields.text("name", forms.JOB_NAME),
        comment=fields.text("comment", forms.COMMENT),
        partition=fields.optional("partition", lambda name: fields.text(name, forms.NAMES)),
        account=fields.optional("account", lambda name: fields.text(name, forms.NAME)),
        qos=fields.optional("qos", lambda name: fields.text(name, forms.NAME)),
        reservation=fields.optional("reservation", lambda name: fields.text(name, forms.NAME)),
        constraint=fields.optional("constraint", lambda name: fields.text(name, forms.CONSTRAINT)),
        gres=fields.optional("gres", lambda name: fields.text(name, forms.GRES)),
        cpus=fields.whole("cpus", 1, 65_536),
        memory_mb=fields.whole("memory_mb", 1, 1 << 30),
        gpus=fields.whole("gpus", 0, 1024),
        minutes=fields.optional("minutes", lambda name: fields.whole(name, 1, 5_256_000)),
        tasks=fields.optional("tasks", lambda name: _tasks(fields.object(name))),
        directives=tuple(check_directive(text) for text in asked),
    )


def _submit(value: dict[str, Any]) -> Submit:
    fields = Fields(value, Submit._fields)
    stage, options = fields.text("stage", forms.STAGE), _options(fields.object("options"))
    if stage.rpartition(".")[0] != options.name:
        raise RunAsError("request", "The stage is not named after its job.")
    return Submit(
        user=fields.text("user", forms.USER),
        stage=stage,
        files=_files(fields.object("files")),
        script_python=fields.text("script_python", forms.PROGRAM),
        options=options,
    )


def _cancel(value: dict[str, Any]) -> Cancel:
    fields = Fields(value, Cancel._fields)
    return Cancel(
        user=fields.text("user", forms.USER),
        slurm_jobs=fields.texts("slurm_jobs", forms.SLURM_JOB, MAX_JOBS),
        name_prefix=fields.text("name_prefix", forms.NAME_PREFIX),
    )


def _log(value: dict[str, Any]) -> Log:
    fields = Fields(value, Log._fields)
    return Log(
        user=fields.text("user", forms.USER),
        stage=fields.text("stage", forms.STAGE),
        file=fields.text("file", forms.LOG_NAME),
        lines=fields.whole("lines", 1, MAX_LOG_LINES),
    )


def _remove(value: dict[str, Any]) -> Remove:
    fields = Fields(value, ("user", "remove"))
    return Remove(fields.text("user", forms.USER), fields.texts("remove", forms.STAGE, MAX_STAGES))


_PARSERS: dict[str, Callable[[dict[str, Any]], Request]] = {
    "submit": _submit,
    "cancel": _cancel,
    "log": _log,
    "stage": _remove,
}


def parse_request(verb: str, data: bytes) -> Request:
    """The request if every field has its type and form and there is no other; else RunAsError, code "request"."""
    parser = _PARSERS.get(verb)
    if parser is None:
        raise RunAsError("request", f"The verb is none of {', '.join(VERBS)}.")
    if len(data) > MAX_REQUEST_BYTES:
        raise RunAsError("request", f"The request has more than {MAX_REQUEST_BYTES} bytes.")
    return parser(parse_object(data))


def render_request(request: Request) -> tuple[str, bytes]:
    """The verb and the bytes that `parse_request` reads back as this request."""
    if isinstance(request, Remove):
        return "stage", json.dumps({"user": request.user, "remove": request.stages}).encode()
    fields: dict[str, Any] = request._asdict()
    if isinstance(request, Submit):
        fields["options"] = request.options._asdict()
        fields["files"] = {
            name: binascii.b2a_base64(content, newline=False).decode() for name, content in request.files.items()
        }
    return type(request).__name__.lower(), json.dumps(fields).encode()
