"""Why a job waits, from Slurm's reason codes: one sentence for its owner, with what one can do. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from sampan_hub.jobs.model import Reason

_ASK = "An administrator can help."
_SMALLER = "Choose a smaller size, or ask an administrator."
_WAIT_OR_STOP = "It starts when others of yours end; stop what you do not need."

SENTENCES: dict[str, str] = {
    "None": "Slurm has not looked at it yet.",
    "WaitingForScheduling": "Slurm has not looked at it yet.",
    "SchedDefer": "Slurm has not looked at it yet.",
    "Priority": "other jobs have higher priority.",
    "Resources": "it is next, and waits for enough free resources.",
    "Dependency": "it depends on another job.",
    "DependencyNeverSatisfied": f"it depends on a job that will never allow it to start. {_ASK}",
    "BeginTime": "it may not begin before a set time; after a failed start Slurm waits a little.",
    "Cleaning": "Slurm still clears up after an earlier try.",
    "Prolog": "the cluster's own preparations run.",
    "Licenses": "it needs a licence that is in use.",
    "Reservation": "its reservation has not begun, or is in use.",
    "ReservationDeleted": f"the reservation it was for was deleted. {_ASK}",
    "ReservationInvalid": f"the reservation it was for is not valid. {_ASK}",
    "JobHeldAdmin": "an administrator holds it back. Ask them why.",
    "JobHeldUser": "it was held back under your name. `scontrol release` lets it go, or stop it here.",
    "JobHoldMaxRequeue": f"it failed to start too often and is held back. {_ASK}",
    "JobArrayTaskLimit": "only some jobs of its group may run at a time.",
    "JobLaunchFailure": f"it could not be started on its node. {_ASK}",
    "NonZeroExitCode": "an earlier try ended with an error.",
    "RaisedSignal": "an earlier try was ended by a signal.",
    "TimeLimit": "an earlier try ran out of time.",
    "InactiveLimit": "an earlier try did nothing for too long.",
    "OutOfMemory": f"an earlier try needed more memory than it had. {_SMALLER}",
    "SystemFailure": f"something in Slurm itself failed. {_ASK}",
    "NodeDown": f"a node that it needs is down. {_ASK}",
    "FrontEndDown": f"the front end that it needs is down. {_ASK}",
    "ReqNodeNotAvail": "the nodes that it needs are down, reserved (for maintenance, perhaps) or busy.",
    "PartitionDown": f"its partition is closed. {_ASK}",
    "PartitionInactive": f"its partition starts no jobs now. {_ASK}",
    "PartitionNodeLimit": f"its partition does not have the nodes that it asks for. {_SMALLER}",
    "PartitionTimeLimit": f"its walltime is longer than the partition allows. {_SMALLER}",
    "PartitionConfig": f"its partition does not allow jobs like it. {_ASK}",
    "BadConstraints": f"no node has what it asks for. {_SMALLER}",
    "Constraints": f"no node has what it asks for. {_SMALLER}",
    "InvalidAccount": f"its Slurm account is not valid. {_ASK}",
    "InvalidQOS": f"its quality of service is not valid. {_ASK}",
    "AccountNotAllowed": f"its partition does not take its Slurm account. {_ASK}",
    "QOSNotAllowed": f"its partition does not take its quality of service. {_ASK}",
    "AccountingPolicy": f"a limit in Slurm's accounting holds it back. {_ASK}",
    "AssociationJobLimit": f"your Slurm account has as many jobs as it may. {_WAIT_OR_STOP}",
    "AssociationResourceLimit": f"your Slurm account has as much as it may. {_WAIT_OR_STOP}",
    "AssociationTimeLimit": f"your Slurm account has used up its time. {_ASK}",
    "QOSJobLimit": f"its quality of service has as many jobs as it may. {_WAIT_OR_STOP}",
    "QOSResourceLimit": f"its quality of service has as much as it may. {_WAIT_OR_STOP}",
    "QOSTimeLimit": f"its quality of service has used up its time. {_ASK}",
    "QOSUsageThreshold": f"too much was used lately under its quality of service. {_ASK}",
    "MaxMemPerLimit": f"it asks for more memory than a job may have here. {_SMALLER}",
    "BurstBufferResources": "it waits for room in the burst buffer.",
    "BurstBufferStageIn": "its files are brought into the burst buffer.",
    "BurstBufferOperation": f"an operation of the burst buffer failed. {_ASK}",
    "DeadLine": "it cannot finish before its deadline.",
    "FedJobLock": "the clusters of the federation settle which of them takes it.",
    "MaxPoweredUpNodes": "as many nodes as allowed are switched on.",
    "MpiPortsBusy": "the ports for its communication are in use.",
    "InvaildReason": f"Slurm does not say why. {_ASK}",  # Slurm's own spelling
}
"""Codes with a sentence of their own. The limits of accounts and qualities of service follow from their parts."""

_RESOURCES: dict[str, str] = {
    "Cpu": "cores",
    "CPU": "cores",
    "Mem": "memory",
    "Memory": "memory",
    "Node": "nodes",
    "Energy": "energy",
    "GRES": "GPUs or other special resources",
    "License": "licences",
    "BB": "burst buffer",
    "Billing": "billing units",
    "Unknown": "a resource",
    "Jobs": "running jobs",
    "SubmitJobs": "waiting and running jobs",
    "SubmitJob": "waiting and running jobs",
    "Wall": "run time",
    "WallDuration": "run time",
}
_LIMIT = re.compile(
    rf"(?P<scope>AssocGrp|AssocMax|QOSGrp|QOSMax|QOSMin|Max)"
    rf"(?P<resource>{'|'.join(sorted(_RESOURCES, key=len, reverse=True))})"
    rf"(?P<time>Minutes|RunMinutes|RunMins)?"
    rf"(?P<per>PerJob|PerNode|PerUser|PerAccount)?(?:Limit|NotSatisfied)?"
)

DESCRIPTIONS: tuple[tuple[str, str, str], ...] = (
    (
        "nodes required for job are down, drained",
        "nodes-unavailable",
        "the nodes that could run it are down, drained or kept for jobs with precedence.",
    ),
    ("launch failed requeued held", "launch-failed", f"it could not be started on its node and is held back. {_ASK}"),
    ("user env retrieval failed", "launch-failed", f"its start on the node failed and it is held back. {_ASK}"),
    ("job requeued in held state", "requeued-held", f"it was put back into the queue and is held back. {_ASK}"),
    ("reservation deleted", "reservation-deleted", f"the reservation it was for was deleted. {_ASK}"),
)
"""Slurm's free texts in place of a code: what they begin with, our code, the sentence."""

_CODE = re.compile(r"([A-Za-z]+)(?:[,:_( ].*)?", re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _limit_sentence(match: re.Match[str]) -> str:
    """What the family of limit codes says, from the parts of the name."""
    scope, per = match["scope"], match["per"]
    what = _RESOURCES[match["resource"]]
    if match["time"]:
        what = f"time with {what}"
    owner = "its quality of service" if scope.startswith("QOS") else "your Slurm account"
    if scope == "QOSMin":
        return f"it asks for fewer {what} than {owner} wants a job to have. Choose a bigger size."
    if scope.endswith("Grp") or per in {"PerUser", "PerAccount"} or match["resource"] in {"Jobs", "SubmitJobs"}:
        holder = {"PerUser": "you have", "PerAccount": "your Slurm account has"}.get(per or "", f"{owner} has")
        kind = f"used up the {what} that it may" if match["time"] else f"as many {what} in use as allowed"
        end = _ASK if match["time"] else _WAIT_OR_STOP
        return f"{holder} {kind if not match['time'] else kind.replace('it may', 'is allowed')}. {end}"
    each = "a node" if per == "PerNode" else "a job"
    return f"it asks for more {what} than {owner} allows {each}. {_SMALLER}"


def _sentence(text: str) -> tuple[str, str, str]:
    """Our code, the sentence, and Slurm's own word for it."""
    plain = text.replace("_", " ").strip()
    for beginning, code, sentence in DESCRIPTIONS:
        if plain.lower().startswith(beginning):
            return code, sentence, ""
    match = _CODE.fullmatch(text)
    code = match[1] if match else ""
    if code in SENTENCES:
        return _kebab(code), SENTENCES[code], code
    limit = _LIMIT.fullmatch(code)
    if limit is not None:
        return _kebab(code), _limit_sentence(limit), code
    shown = "".join(mark if mark.isprintable() else " " for mark in plain)[:200]
    return "unlisted", f"Slurm says “{shown}”, which Sampan does not know. {_ASK}", ""


def _kebab(code: str) -> str:
    return _CAMEL.sub("-", code).lower()


def is_listed(text: str) -> bool:
    """Whether there is a sentence for this reason."""
    return _sentence(text)[0] != "unlisted"


def explain_waiting(text: str, estimate: datetime | None, now: datetime) -> Reason:
    """Why a queued job waits; `estimate`: when Slurm now thinks that it may start."""
    code, sentence, word = _sentence(text)
    if word and word != "None":
        first, dot, rest = sentence.partition(".")
        sentence = f"{first} ({word}){dot}{rest}"
    told = f"Waiting in the queue: {sentence}"
    if estimate is not None and estimate > now:
        told += f" Estimated start: {moment(estimate, now)}."
    return Reason(f"slurm-{code}", told)


def moment(at: datetime, now: datetime) -> str:
    """`14:05 UTC`; with its date where that is not today."""
    day = "" if at.date() == now.astimezone(at.tzinfo).date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M} UTC"
