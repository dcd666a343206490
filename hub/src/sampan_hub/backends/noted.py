"""How an end that a backend noted is written down: one line of JSON, read back as it was. Pure."""

from __future__ import annotations

import json
from datetime import datetime

from sampan_hub.backends.base import Observed, Phase
from sampan_hub.jobs.model import Exit, Reason, RunIdentity


def render_end(end: Observed) -> str:
    """All but the identity, which is of use only while a job lives."""
    return json.dumps(
        {
            "owner": end.owner,
            "run": end.run and end.run.token,
            "reason": end.reason and [end.reason.code, end.reason.text],
            "started_at": end.started_at and end.started_at.isoformat(),
            "ended_at": end.ended_at and end.ended_at.isoformat(),
            "exit": end.exit and [end.exit.code, end.exit.signal, end.exit.peak_memory_bytes],
        }
    )


def parse_end(job_id: str, text: str) -> Observed:
    """What `render_end` wrote of this job."""
    kept = json.loads(text)
    return Observed(
        job_id=job_id,
        phase=Phase.ENDED,
        owner=kept["owner"],
        run=RunIdentity(kept["run"]) if kept["run"] else None,
        reason=Reason(*kept["reason"]) if kept["reason"] else None,
        started_at=datetime.fromisoformat(kept["started_at"]) if kept["started_at"] else None,
        ended_at=datetime.fromisoformat(kept["ended_at"]) if kept["ended_at"] else None,
        exit=Exit(*kept["exit"]) if kept["exit"] else None,
    )
