"""What Prometheus may know: requests, and what the store counts when it is asked."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """One registry per app, so that two apps in one process do not share counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sampan_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "sampan_request_seconds",
            "Time to answer; long polls of the feed count their waiting.",
            ["route"],
            registry=self._registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
        )
        self._jobs = Gauge("sampan_jobs", "Jobs that have not ended.", ["kind", "state"], registry=self._registry)
        self._listing_age = Gauge(
            "sampan_listing_age_seconds",
            "Since the last good listing of a backend; absent before the first.",
            ["backend"],
            registry=self._registry,
        )
        self._waiting = Gauge("sampan_feed_waiting", "Feed requests that wait for news.", registry=self._registry)

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(took_s)

    def render(
        self, jobs: Mapping[tuple[str, str], int], listing_age_s: Mapping[str, float], feed_waiting: int
    ) -> bytes:
        """The exposition text, with gauges set to what was counted just now."""
        self._jobs.clear()
        for (kind, state), count in jobs.items():
            self._jobs.labels(kind, state).set(count)
        self._listing_age.clear()
        for backend, age_s in listing_age_s.items():
            self._listing_age.labels(backend).set(age_s)
        self._waiting.set(feed_waiting)
        return generate_latest(self._registry)


METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"})
"""A label takes no value that a stranger chose."""
