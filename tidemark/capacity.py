"""What a load needs: partitions, shards, cores, Redis, state, storage. Pure arithmetic over measured coefficients.

Every figure carries its formula and what it rests on, so that a reader can tell a measurement from an assumption. All
figures grow, or stay, when events, keys, windows, metrics or the peak grow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from tidemark.errors import UserError

Basis = Literal["given", "measured", "documented", "reasoned"]
_BASES: tuple[Basis, ...] = ("given", "measured", "documented", "reasoned")
"""From the firmest to the loosest: a figure is as firm as the loosest of its coefficients. Given: by the load alone."""
DAY_S = 86_400
HOUR_S = 3_600
GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One number that the arithmetic rests on. `date`: of a measurement, ISO."""

    name: str
    value: float
    unit: str
    basis: Basis
    source: str
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for. `windows`: lengths in seconds, of every metric; `sketches`: how many of the metrics hold one.

    `peak`: the busiest seconds over the mean. `hot_s`: how long sealed windows stay in Redis.
    """

    events_per_hour: float
    keys: int
    windows: tuple[int, ...]
    metrics: int = 1
    sketches: int = 0
    event_bytes: float = 200.0
    peak: float = 3.0
    hot_s: int = DAY_S
    late_after_s: int = 600

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--events-per-hour", self.events_per_hour, 1),
            ("--keys", self.keys, 1),
            ("--metrics", self.metrics, 1),
            ("--sketches", self.sketches, 0),
            ("--event-bytes", self.event_bytes, 1),
            ("--peak", self.peak, 1),
        ):
            if not (math.isfinite(value) and value >= least):
                raise UserError(f"{option}: must be at least {least}, not {value:g}")
        if not self.windows or min(self.windows) <= 0 or len(set(self.windows)) < len(self.windows):
            raise UserError("--windows: needs one or more window lengths, each once")
        if self.sketches > self.metrics:
            raise UserError(f"--sketches: {self.sketches} of {self.metrics} metrics")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the plan. `rests_on`: the coefficients; `basis`: the loosest of theirs."""

    name: str
    value: float
    unit: str
    formula: str
    rests_on: tuple[str, ...]
    basis: Basis


class Planner:
    """Coefficients, and the figures of one load."""

    def __init__(self, load: Load, coefficients: Mapping[str, Coefficient]) -> None:
        self.load = load
        self._known = coefficients

    def figures(self) -> list[Figure]:
        """In the order in which an event meets what they size."""
        return list(chain(self._source(), self._stream(), self._views(), self._batch(), self._storage()))

    @property
    def peak_per_s(self) -> float:
        return self.load.events_per_hour / HOUR_S * self.load.peak

    def active_keys(self, window_s: int) -> float:
        """Keys that a window holds on the average: K·(1 - e^(-E/K)) for E events spread evenly over K keys.

        An upper bound: traffic that prefers some keys touches fewer of them.
        """
        events, keys = self.load.events_per_hour * window_s / HOUR_S, self.load.keys
        return -keys * math.expm1(-events / keys)

    def stream_cores(self) -> int:
        per_event_us = self._c("stream_us_per_event") + self._c("stream_us_per_row") * self._rows_per_event()
        return _whole(self.peak_per_s * per_event_us / 1e6 / self._c("utilisation"))

    def _rows_per_event(self) -> int:
        return self.load.metrics * len(self.load.windows)

    def _source(self) -> list[Figure]:
        load, peak = self.load, self.peak_per_s
        bytes_per_s = peak * load.event_bytes
        partitions = max(self.stream_cores(), _whole(bytes_per_s / self._c("kafka_partition_bytes_per_s")))
        shards = max(
            _whole(peak / self._c("kinesis_shard_records_per_s")),
            _whole(bytes_per_s / self._c("kinesis_shard_bytes_per_s")),
        )
        return [
            self._figure("peak rate", peak, "events/s", "events per hour / 3600 x peak"),
            self._figure(
                "Kafka partitions",
                partitions,
                "",
                "max(stream cores, peak bytes/s / one partition's)",
                "kafka_partition_bytes_per_s",
                *_CORES,
            ),
            self._figure(
                "Kinesis shards",
                shards,
                "",
                "max(peak / records a shard takes, peak bytes/s / bytes a shard takes)",
                "kinesis_shard_records_per_s",
                "kinesis_shard_bytes_per_s",
            ),
            self._figure(
                "source per day",
                load.events_per_hour * 24 * load.event_bytes / GIB,
                "GiB",
                "events per day x bytes; keep more days than lie between two backups",
            ),
        ]

    def _stream(self) -> list[Figure]:
        load, cores = self.load, self.stream_cores()
        open_rows = sum(self.active_keys(w) * (1 + math.ceil(load.late_after_s / w)) for w in load.windows)
        ids = load.events_per_hour / HOUR_S * load.peak * load.late_after_s
        state = open_rows * load.metrics * self._c("state_bytes_per_row") + ids * self._c("state_bytes_per_id")
        sketched = sum(self._sketch_bytes(w) * (1 + math.ceil(load.late_after_s / w)) for w in load.windows)
        formula = "peak x (per event + per row x metrics x windows) / utilisation"
        executors = _whole(cores / self._c("cores_per_executor"))
        return [
            self._figure("stream cores", cores, "", formula, *_CORES),
            self._figure("stream executors", executors, "", "cores / cores of one", "cores_per_executor", *_CORES),
            self._figure(
                "state",
                (state + sketched) / GIB,
                "GiB",
                "open windows x keys x metrics x bytes of a row + ids within lateness x bytes of an id",
                "state_bytes_per_row",
                "state_bytes_per_id",
                *(_SKETCHES if load.sketches else ()),
            ),
        ]

    def _sketch_bytes(self, window_s: int) -> float:
        """Of all sketches of one window: each grows with the values that it has seen, up to its largest."""
        events = self.load.events_per_hour * window_s / HOUR_S
        full = self.active_keys(window_s) * self._c("bytes_per_full_sketch")
        return self.load.sketches * min(full, events * self._c("sketch_bytes_per_value"))

    @property
    def kept_s(self) -> float:
        """Time that Redis holds: speed since the last seal, a day and its grace at most, and the hot sealed windows."""
        return DAY_S + self._c("speed_grace_s") + self.load.hot_s

    def partials_in_redis(self) -> float:
        return self.load.metrics * sum(self.active_keys(w) * self.kept_s / w for w in self.load.windows)

    def _views(self) -> list[Figure]:
        load, partials = self.load, self.partials_in_redis()
        sketched = sum(self._sketch_bytes(w) * self.kept_s / w for w in load.windows)
        used = partials * self._c("redis_bytes_per_partial") + sketched
        rests = ("redis_bytes_per_partial", *(_SKETCHES if load.sketches else ()))
        return [
            self._figure(
                "partials in Redis",
                round(partials),
                "",
                "metrics x keys of a window x (a day + grace + hot) / window",
                "speed_grace_s",
            ),
            self._figure(
                "Redis memory",
                used * self._c("redis_headroom") / GIB,
                "GiB",
                "partials x bytes x headroom",
                *rests,
                "redis_headroom",
            ),
        ]

    def _batch(self) -> list[Figure]:
        cpu_s = self.load.events_per_hour * 24 * self._batch_us() / 1e6
        cores = _whole(cpu_s / (self._c("batch_hours") * HOUR_S) / self._c("utilisation"))
        rests = ("batch_us_per_event", "batch_us_per_row", "batch_hours", "utilisation")
        executors = _whole(cores / self._c("cores_per_executor"))
        return [
            self._figure("batch CPU", cpu_s / HOUR_S, "core hours/day", "events per day x CPU per event", *rests[:2]),
            self._figure("batch cores", cores, "", "CPU per day / hours it may take / utilisation", *rests),
            self._figure("batch executors", executors, "", "cores / cores of one", *rests, "cores_per_executor"),
        ]

    def _batch_us(self) -> float:
        return self._c("batch_us_per_event") + self._c("batch_us_per_row") * self._rows_per_event()

    def _storage(self) -> list[Figure]:
        events = self.load.events_per_hour * 24
        lake = events * (self._c("bronze_bytes_per_event") + self._c("silver_bytes_per_event"))
        rows = self.load.metrics * sum(self.active_keys(w) * DAY_S / w for w in self.load.windows)
        gold = rows * self._c("gold_bytes_per_row")
        return [
            self._figure(
                "lake growth: events",
                lake / GIB,
                "GiB/day",
                "events per day x (bronze + silver)",
                "bronze_bytes_per_event",
                "silver_bytes_per_event",
            ),
            self._figure(
                "lake growth: gold",
                gold / GIB,
                "GiB/day",
                "metrics x keys of a window x windows per day x bytes of a row",
                "gold_bytes_per_row",
            ),
        ]

    def _c(self, name: str) -> float:
        return self._known[name].value

    def _figure(self, name: str, value: float, unit: str, formula: str, *rests_on: str) -> Figure:
        return Figure(name, value, unit, formula, rests_on, loosest([self._known[each] for each in rests_on]))


_SKETCHES = ("bytes_per_full_sketch", "sketch_bytes_per_value")
_CORES = ("stream_us_per_event", "stream_us_per_row", "utilisation")


def loosest(coefficients: Sequence[Coefficient]) -> Basis:
    """What a figure rests on: no firmer than the loosest."""
    return max((each.basis for each in coefficients), key=_BASES.index, default="given")


def plan(load: Load, coefficients: Mapping[str, Coefficient]) -> list[Figure]:
    """The figures of a load."""
    return Planner(load, coefficients).figures()


def _whole(value: float) -> int:
    return max(1, math.ceil(value - 1e-9))
