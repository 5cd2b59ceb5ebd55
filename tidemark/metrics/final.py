"""Finalise: from a merged partial to the values of the answer, in Python for serving and as Spark SQL for gold.

Both forms stand side by side, so that an answer and a gold column cannot drift apart.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from datasketches import hll_sketch, kll_doubles_sketch

from tidemark.metrics.operations import OPERATIONS, Value

Partial = tuple[Any, ...]
"""Component values of one (dims, window), in the order of `Metric.components`."""


class Final(Protocol):
    """A finalise expression of a known type."""

    @property
    def type(self) -> str: ...

    def evaluate(self, partial: Partial, window_s: int) -> Value: ...

    @property
    def spark_sql(self) -> str:
        """Over the state columns `c{i}_…` and `window_s` of a gold frame."""
        ...


@dataclass(frozen=True, slots=True)
class CountOf:
    index: int
    type: str = "long"

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        return partial[self.index]

    @property
    def spark_sql(self) -> str:
        return f"c{self.index}_n"


@dataclass(frozen=True, slots=True)
class SumOf:
    """`scale`: decimal places of a decimal column, whose unscaled integers are summed."""

    index: int
    exact: bool
    scale: int = 0

    @property
    def type(self) -> str:
        return "double" if not self.exact or self.scale else "long"

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        total = partial[self.index]
        return total if total is None or not self.scale else total / 10**self.scale

    @property
    def wide_sql(self) -> str:
        i = self.index
        return f"(CAST(c{i}_hi AS DECIMAL(20,0)) * 4294967296BD + CAST(c{i}_lo AS DECIMAL(20,0)))"

    @property
    def spark_sql(self) -> str:
        if not self.exact:
            return f"c{self.index}_sum"
        if self.scale:
            return f"(CAST({self.wide_sql} AS DOUBLE) / {10**self.scale}D)"
        return f"try_cast({self.wide_sql} AS BIGINT)"


@dataclass(frozen=True, slots=True)
class AverageOf:
    total: SumOf
    count: CountOf
    type: str = "double"

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        total, count = partial[self.total.index], partial[self.count.index]
        return None if not count or total is None else total / (count * 10**self.total.scale)

    @property
    def spark_sql(self) -> str:
        total = f"CAST({self.total.wide_sql} AS DOUBLE)" if self.total.exact else self.total.spark_sql
        return f"try_divide({total}, {self.count.spark_sql} * {10**self.total.scale}D)"


@dataclass(frozen=True, slots=True)
class ExtremeOf:
    """MIN or MAX. Timestamps accumulate as microseconds, decimals as unscaled integers."""

    index: int
    end: str
    type: str
    scale: int = 0

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        value = partial[self.index]
        return value if value is None or not self.scale else value / 10**self.scale

    @property
    def spark_sql(self) -> str:
        column = f"c{self.index}_{self.end}"
        if self.type == "timestamp":
            return f"timestamp_micros({column})"
        return f"({column} / {10**self.scale}D)" if self.scale else column


@dataclass(frozen=True, slots=True)
class SpreadOf:
    """VARIANCE and STDDEV from (n, mean, m2); the sample forms are NULL below two values, as in Spark."""

    index: int
    sample: bool
    root: bool
    type: str = "double"

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        count, _, m2 = partial[self.index]
        divisor = count - self.sample
        if count == 0 or divisor == 0:
            return None
        variance = m2 / divisor
        return math.sqrt(variance) if self.root else variance

    @property
    def spark_sql(self) -> str:
        i = self.index
        variance = f"try_divide(c{i}_var * c{i}_n, c{i}_n - {int(self.sample)})"
        return f"sqrt({variance})" if self.root else variance


@dataclass(frozen=True, slots=True)
class DistinctOf:
    index: int
    type: str = "long"

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        sketch = partial[self.index]
        return 0 if sketch is None else round(hll_sketch.deserialize(sketch).get_estimate())

    @property
    def spark_sql(self) -> str:
        return f"coalesce(hll_sketch_estimate(c{self.index}_hll), 0L)"


@dataclass(frozen=True, slots=True)
class QuantileOf:
    index: int
    rank: float
    type: str

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        if partial[self.index] is None:
            return None
        sketch = kll_doubles_sketch.deserialize(partial[self.index])
        if sketch.is_empty():
            return None
        value = sketch.get_quantile(self.rank, True)
        return min(round(value), 2**63 - 1) if self.type == "long" else value

    @property
    def spark_sql(self) -> str:
        column = f"c{self.index}_kll"
        value = (
            f"IF(kll_sketch_get_n_double({column}) > 0, kll_sketch_get_quantile_double({column}, {self.rank!r}D), NULL)"
        )
        return f"CAST(round({value}) AS BIGINT)" if self.type == "long" else value


@dataclass(frozen=True, slots=True)
class Constant:
    value: Value
    type: str
    spark_sql: str

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        return self.value


@dataclass(frozen=True, slots=True)
class WindowHours:
    """Length of the answered window in hours: turns mean power into energy."""

    type: str = "double"

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        return window_s / 3600

    @property
    def spark_sql(self) -> str:
        return "(window_s / 3600D)"


@dataclass(frozen=True, slots=True)
class Call:
    """An operation over other finalise expressions."""

    op: str
    args: tuple[Final, ...]
    type: str

    def evaluate(self, partial: Partial, window_s: int) -> Value:
        return OPERATIONS[self.op][0]([arg.evaluate(partial, window_s) for arg in self.args])

    @property
    def spark_sql(self) -> str:
        return OPERATIONS[self.op][1]([arg.spark_sql for arg in self.args])


def is_estimate(final: Final) -> bool:
    """Whether a value comes from a sketch, so that two computations over the same events may differ."""
    if isinstance(final, Call):
        return any(is_estimate(arg) for arg in final.args)
    return isinstance(final, DistinctOf | QuantileOf)
