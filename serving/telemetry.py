"""Prometheus metrics of the API, in a registry of its own. Labels are bounded: routes are templates, never paths."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class Telemetry:
    """The instruments. One per process: with several workers each exports its own share."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Histogram = field(init=False)
    answers: Counter = field(init=False)
    events: Counter = field(init=False)
    freshness: Gauge = field(init=False)
    lag: Gauge = field(init=False)
    degraded: Gauge = field(init=False)
    failed: Gauge = field(init=False)
    sealed_through: Gauge = field(init=False)
    redis_up: Gauge = field(init=False)
    redis_memory: Gauge = field(init=False)

    def __post_init__(self) -> None:
        to = self.registry
        self.requests = Histogram(
            "tidemark_request_seconds", "Time to answer", ("method", "route", "status"), buckets=_BUCKETS_S, registry=to
        )
        self.answers = Counter("tidemark_answers", "Answers by completeness", ("metric", "complete"), registry=to)
        self.events = Counter("tidemark_events", "Events posted, by verdict", ("contract", "verdict"), registry=to)
        self.freshness = Gauge(
            "tidemark_freshness_seconds", "Age of the speed layer's last write", ("contract", "lane"), registry=to
        )
        self.lag = Gauge(
            "tidemark_lag_records", "Records of the source not yet taken", ("contract", "lane"), registry=to
        )
        self.degraded = Gauge("tidemark_degraded", "1 when answers are marked degraded", ("metric",), registry=to)
        self.failed = Gauge(
            "tidemark_metric_failed", "1 when the stream has set a metric aside", ("metric",), registry=to
        )
        self.sealed_through = Gauge(
            "tidemark_sealed_through_seconds", "Exclusive end of what batch owns, epoch", ("metric",), registry=to
        )

        self.redis_up = Gauge("tidemark_redis_up", "1 when the speed views answer", registry=to)
        self.redis_memory = Gauge(
            "tidemark_redis_memory_bytes",
            "Of the speed views: used, and the limit when there is one",
            ("kind",),
            registry=to,
        )

    def export(self) -> bytes:
        return generate_latest(self.registry)
