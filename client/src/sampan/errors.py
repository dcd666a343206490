"""Every error of this package, one tree.

SampanError
├── Refused              the service said no: which limit or field, and who can change it
│   └── NotAccepted      … because the credential is not (or no longer) valid: the job or cluster has ended
├── ServiceUnavailable   the service could not be asked; nothing is known, asking again is right
│   └── NotTheService    … because somebody answers there who is not this installation's service
├── EnvironmentDiffers   packages of two processes that must agree do not
├── ClusterNotFound      no running cluster of that name here
└── ClusterFailed        the cluster's host could not start, or is gone; carries the end of its log
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class SampanError(Exception):
    """Base of all errors that this package raises on purpose."""


class Refused(SampanError):
    """The service understood and said no. The text is for people; the fields are for programs."""

    def __init__(
        self,
        detail: str,
        *,
        status: int = 400,
        code: str = "refused",
        field: str | None = None,
        allowed: Sequence[str] | None = None,
        limit: str | None = None,
        used: int | None = None,
        asked: int | None = None,
        maximum: int | None = None,
        raised_by: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.field = field
        self.allowed = tuple(allowed) if allowed is not None else None
        self.limit = limit
        self.used = used
        self.asked = asked
        self.maximum = maximum
        self.raised_by = raised_by


class NotAccepted(Refused):
    """The credential is unknown, or dead because its job or cluster has ended."""


class ServiceUnavailable(SampanError):
    """The service did not answer. Nothing is lost: what runs keeps running, and the request may be repeated."""

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotTheService(ServiceUnavailable):
    """Who answers at the service's address cannot show a certificate that this job was told to believe."""


class EnvironmentDiffers(SampanError):
    """Two processes of a cluster have packages that must be the same and are not."""

    def __init__(self, differences: Sequence[str], where: str) -> None:
        super().__init__(f"{where}: " + "; ".join(differences))
        self.differences = tuple(differences)


class ClusterNotFound(SampanError):
    """There is no running cluster of that name in this notebook session."""


class ClusterFailed(SampanError):
    """The cluster's host did not start or has ended; `log` is the end of what it wrote."""

    def __init__(self, detail: str, log: Sequence[str] = ()) -> None:
        text = detail if not log else detail + "\n" + "\n".join(f"  | {line}" for line in log)
        super().__init__(text)
        self.log = tuple(log)


class WorkerWarning(UserWarning):
    """A worker did not arrive, was refused or keeps dying; the cluster itself goes on."""


_PROBLEM_FIELDS = ("code", "field", "allowed", "limit", "used", "asked", "maximum", "raised_by")


def make_error(status: int, problem: Mapping[str, Any], what: str) -> SampanError:
    """The exception for an answer that is not a success. `what` names the request, for answers without a detail."""
    detail = str(problem.get("detail") or problem.get("title") or f"{what} was answered with status {status}")
    if status in (502, 503, 504):
        return ServiceUnavailable(detail, retry_after_s=problem.get("retry_after_s"))
    fields = {name: problem[name] for name in _PROBLEM_FIELDS if problem.get(name) is not None}
    kind = NotAccepted if status in (401, 403) else Refused
    return kind(detail, status=status, **fields)
