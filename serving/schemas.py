"""The documents on the wire, for `/openapi.json`. Answers are plain mappings: these describe, tests compare."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Instant = str
Dims = dict[str, str | int | bool | None]
Reason = Literal[
    "expired", "not_covered", "speed_unavailable", "speed_stopped", "speed_stale", "late", "metric_failed", "batch_only"
]


class Document(BaseModel):
    """Base: a member that is not described is an error in the tests."""

    model_config = ConfigDict(extra="forbid")


class Point(Document):
    """One group in one window `[start, end)`."""

    start: Instant
    end: Instant
    dims: Dims
    values: dict[str, float | int | str | bool | None]
    layer: Literal["batch", "speed"]
    state: Literal["sealed", "closed", "open"]


class Gap(Document):
    """A range `[from, to)` that no layer covers."""

    from_: Instant = Field(alias="from")
    to: Instant
    reason: Reason


class Answer(Document):
    """Points of a metric with their provenance. `degraded` and `quality` appear only below the metric's min_quality."""

    metric: str
    window: str
    from_: Instant = Field(alias="from")
    to: Instant
    dims: Dims
    group_by: list[str]
    sealed_through: Instant | None
    batch_version: int | None
    speed_as_of: Instant | None
    watermark: Instant | None
    freshness_seconds: float | None
    complete: bool
    missing: list[Gap]
    points: list[Point]
    degraded: bool = False
    quality: float | None = None


class DeviceKpi(Answer):
    """The latest windows of one device."""

    device_id: str
    interval: Literal["10min", "30min"]


class DeviceRealtime(Answer):
    """The latest window of one device, also spelled out at the top."""

    device_id: str
    source: Literal["batch", "speed"]
    start: Instant
    end: Instant
    state: Literal["sealed", "closed", "open"]
    values: dict[str, float | int | str | bool | None]


class MetricEntry(Document):
    """One metric that can be asked."""

    name: str
    description: str
    category: str
    contract: str
    dims: list[str]
    measures: list[str]
    windows: list[str]
    sealed_through: Instant | None
    version: int | None


class MetricList(Document):
    metrics: list[MetricEntry]


class ParityList(Document):
    """Rows of gold/_parity, newest first."""

    metric: str
    parity: list[dict[str, Any]]


class EventResult(Document):
    """Verdict on one record, by its place in the body."""

    index: int
    status: Literal["accepted", "quarantined"]
    reasons: list[str]


class EventReceipt(Document):
    """All records are durable; the quarantined ones as well."""

    accepted: int
    quarantined: int
    results: list[EventResult]


class Health(Document):
    status: Literal["live", "ready"]


class ProblemDocument(BaseModel):
    """RFC 9457; members beside these belong to the type."""

    type: str = Field(examples=["urn:tidemark:problem:bad-parameter"])
    title: str
    status: int
    detail: str
    parameter: str | None = None
    missing: list[Gap] | None = None
    reasons: list[dict[str, str]] | None = None
    results: list[EventResult] | None = None
