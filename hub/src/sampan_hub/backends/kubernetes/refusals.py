"""What it means that the API server refuses a pod. Pure."""

from __future__ import annotations

import re

from sampan_hub.backends.kubernetes.client import ApiRefused
from sampan_hub.jobs.model import Reason

_QUOTA = re.compile(r"exceeded quota: ([^,]+), (?:requested: (.*), used: (.*), limited: (.*))")
_STANDARD = re.compile(r"violates PodSecurity")
_RANGE = re.compile(r"(?:maximum|minimum) \S+ usage per \S+ is", re.IGNORECASE)
_RIGHTS = re.compile(r'is forbidden: User "[^"]*" cannot \w+ resource')


def may_pass(error: ApiRefused) -> bool:
    """Whether the same call may well succeed in a moment. An API server that has just started forbids everything until
    it has read who may do what."""
    return error.is_passing or (error.status == 403 and _RIGHTS.search(error.message) is not None)


def explain_refusal(error: ApiRefused) -> Reason | None:
    """Why this pod will never be; None where the refusal says nothing of the pod, so that it may be tried again."""
    message = " ".join(error.message.split())[:400]
    if error.status == 422 or (error.status == 400 and error.reason in ("Invalid", "BadRequest")):
        return Reason("invalid", f"Kubernetes does not take such a pod: {message}")
    if error.status != 403:
        return None
    quota = _QUOTA.search(message)
    if quota is not None:
        used = f": {quota[3]} of {quota[4]} are in use, {quota[2]} more were asked for" if quota[2] else ""
        return Reason("quota", f"The quota {quota[1]} of the namespace is used up{used}.")
    if "exceeded quota" in message:
        return Reason("quota", f"The quota of the namespace is used up: {message}")
    if "is being terminated" in message:
        return Reason("namespace-gone", "The namespace in which jobs run is being deleted.")
    if _RANGE.search(message):
        return Reason("limit-range", f"The namespace does not allow pods of this size: {message}")
    if _STANDARD.search(message):
        return Reason("pod-security", f"The namespace's security standard does not allow the pod: {message}")
    return Reason("forbidden", f"Kubernetes does not let Sampan start it: {message}")
