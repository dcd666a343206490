"""Slurm's own listing, accounting, and the processes of every machine, against what the API says. No record of ours
is believed without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sampan_hub.jobs.keys import make_job_id
from tests.chaos.asking import Job
from tests.judge.processes import processes_with_key
from tests.slurm.faults.light import HubHostLight
from tests.support.installation import wait_until
from tests.testbeds.slurm.cluster import Cluster

ALIVE = frozenset({"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD"})
NEVER_IN_SLURM = frozenset({"lost-by-slurm"})
"""Why a job that began ended, though Slurm knows no end of it: its controller had forgotten it."""
SETTLE_S = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One job of ours as `squeue` shows it."""

    raw_id: str
    shown_id: str
    state: str
    user: str
    node: str
    job_id: str

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE


@dataclass(frozen=True, slots=True)
class Verdict:
    """Job ids in each kind of fault; all empty is the only good one."""

    orphans: frozenset[str] = frozenset()
    """Runs, or waits to, and the API knows nothing of it or says that it ended."""
    duplicates: frozenset[str] = frozenset()
    """Two runs worked, or work, under one id."""
    false_deaths: frozenset[str] = frozenset()
    """Recorded as ended while Slurm shows it alive."""
    unproven: frozenset[str] = frozenset()
    """Recorded as ended, began, and Slurm knows no end of it."""

    @property
    def is_good(self) -> bool:
        return self == Verdict()


def read_rows(cluster: Cluster, instance: str) -> list[Row]:
    """Every job with our name, whoever gave it that name."""
    text = cluster.ask("squeue", "-a", "-r", "-h", "-t", "all", "-o", "%A|%i|%T|%u|%N|%j")
    rows = []
    for line in text.splitlines():
        if line.count("|") < 5:
            continue  # the rest of a name with a line break: people may give their jobs any
        raw_id, shown_id, state, user, node, name = line.split("|", 5)
        job_id = id_of(name, shown_id)
        if job_id is not None and job_id.startswith(f"{instance}."):
            rows.append(Row(raw_id, shown_id, state, user, node, job_id))
    return rows


def id_of(name: str, shown_id: str) -> str | None:
    """The id that a Slurm job's name and array task stand for."""
    words = name.split(".")
    task = shown_id.partition("_")[2] or "0"
    if len(words) != 4 or words[0] != "sampan" or not (words[3].isdecimal() and task.isdecimal()):
        return None
    return make_job_id(words[1], words[2], int(words[3]) + int(task))


@dataclass(slots=True)
class Judge:
    """Watches one installation. Jobs that others made under our names are told to it, and left out."""

    cluster: Cluster
    light: HubHostLight
    forged: set[str] = field(default_factory=set)
    """Their Slurm numbers."""
    _proven: set[str] = field(default_factory=set)

    def rows(self) -> list[Row]:
        rows = [row for row in read_rows(self.cluster, self.light.instance) if row.raw_id not in self.forged]
        self._proven.update(row.job_id for row in rows if not row.is_alive)
        return rows

    def verdict(self) -> Verdict:
        """As it is now. The API is asked first: what it calls ended must be so from then on."""
        views = self.light.jobs()
        rows = self.rows()
        processes = processes_with_key(self.light.instance)
        alive = {row.job_id for row in rows if row.is_alive}
        working = [process.job_id for process in processes if process.entry]
        return Verdict(
            orphans=frozenset(key for key in alive | {p.job_id for p in processes} if _is_over(views.get(key))),
            duplicates=frozenset(
                {key for key in working if working.count(key) > 1} | self.light.ground.doubles(self.light.instance)
            ),
            false_deaths=frozenset(key for key in alive if key in views and views[key]["state"] == "ended"),
            unproven=frozenset(self._unproven(views)),
        )

    def _unproven(self, views: Mapping[str, Job]) -> Iterable[str]:
        ended = {key for key, job in views.items() if job["state"] == "ended" and _should_be_known(job)}
        missing = ended - self._proven
        if missing:
            self._proven |= self._accounted()
        return missing - self._proven

    def _accounted(self) -> set[str]:
        """Ids whose end accounting has."""
        words = ("sacct", "-a", "-n", "-P", "-D", "-X", "--array", "-S", "now-2hours", "-o", "JobID,State,End,JobName")
        found = set()
        for line in self.cluster.ask(*words).splitlines():
            shown_id, _, end, name = line.split("|", 3)
            job_id = id_of(name, shown_id)
            if job_id is not None and end != "Unknown":
                found.add(job_id)
        return found

    def until_content(self) -> None:
        """No false death at any time; everything else as soon as things have settled."""
        latest = [Verdict()]

        def is_good() -> bool:
            latest[0] = self.verdict()
            assert not latest[0].false_deaths, f"recorded as ended, and alive in Slurm: {latest[0]}"
            return latest[0].is_good

        try:
            wait_until(is_good, SETTLE_S, "the judge is content")
        except TimeoutError:
            raise AssertionError(f"{self.light.name}: {latest[0]}") from None


def _is_over(job: Job | None) -> bool:
    return job is None or job["state"] == "ended"


def _should_be_known(job: Job) -> bool:
    code = (job["reason"] or {}).get("code", "")
    return job["started_at"] is not None and code not in NEVER_IN_SLURM
