"""The shapes of API v1: what goes over HTTP, and nothing else. Golden messages: tests/wire.

Paths below `<base>services/sampan/api/v1`. Times are RFC 3339 UTC, memory is bytes, cores are thousandths, money is
micro-units of the site's currency, durations are seconds. Unknown fields in requests are refused; readers
ignore unknown fields in answers, so answers may grow within v1.
"""

from __future__ import annotations

from sampan_hub.service.wire.base import Answer, Key, Name, Problem, ReasonView, Request
from sampan_hub.service.wire.clusters import ClusterReport, ClustersAnswer, ClusterView
from sampan_hub.service.wire.hosting import ClusterAnswer, ClusterRequest, HostBase
from sampan_hub.service.wire.jobs import (
    AddressView,
    ExitView,
    ItemAnswer,
    JobBase,
    JobItem,
    JobsAnswer,
    JobView,
    LogAnswer,
    StopAnswer,
    StopItem,
    StopRequest,
    SubmitAnswer,
    SubmitRequest,
)
from sampan_hub.service.wire.running import (
    AddressReport,
    ClaimAnswer,
    ClaimRequest,
    ClusterClaim,
    ReasonReport,
    ReportRequest,
    TlsView,
)
from sampan_hub.service.wire.site import (
    FailureView,
    FindingsAnswer,
    FindingView,
    OffersAnswer,
    PauseAnswer,
    PauseRequest,
    QuoteAnswer,
    SessionAnswer,
    SizeView,
    WhoamiAnswer,
)

__all__ = [
    "AddressReport",
    "AddressView",
    "Answer",
    "ClaimAnswer",
    "ClaimRequest",
    "ClusterAnswer",
    "ClusterClaim",
    "ClusterReport",
    "ClusterRequest",
    "ClusterView",
    "ClustersAnswer",
    "ExitView",
    "FailureView",
    "FindingView",
    "FindingsAnswer",
    "HostBase",
    "ItemAnswer",
    "JobBase",
    "JobItem",
    "JobView",
    "JobsAnswer",
    "Key",
    "LogAnswer",
    "Name",
    "OffersAnswer",
    "PauseAnswer",
    "PauseRequest",
    "Problem",
    "QuoteAnswer",
    "ReasonReport",
    "ReasonView",
    "ReportRequest",
    "Request",
    "SessionAnswer",
    "SizeView",
    "StopAnswer",
    "StopItem",
    "StopRequest",
    "SubmitAnswer",
    "SubmitRequest",
    "TlsView",
    "WhoamiAnswer",
]
