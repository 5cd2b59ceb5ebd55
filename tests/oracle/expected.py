"""What a right value may be: exact, close to a double, or within the declared error of a sketch."""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, Protocol

RELATIVE_DOUBLE = 1e-9
DISTINCT_ERROR = 0.0265
"""Three standard deviations of an HLL with 2^14 registers (1.04 / sqrt(2^14) = 0.81 %), 2 % being two and a half."""
RANK_ERROR = 0.0105
"""Of a KLL with k = 400: 0.66 % at 99 %; with room for the many values that a test compares."""


class Expected(Protocol):
    """The right value of one measure of one point. `value` is the exact one."""

    @property
    def value(self) -> Any: ...

    def accepts(self, actual: Any) -> bool: ...


@dataclass(frozen=True, slots=True)
class Exact:
    """An integer or null: nothing else will do. True is not 1, and 1.0 is not 1."""

    value: int | None

    def accepts(self, actual: Any) -> bool:
        return type(actual) is type(self.value) and actual == self.value


@dataclass(frozen=True, slots=True)
class Close:
    """A double, or null."""

    value: float | None
    relative: float = RELATIVE_DOUBLE

    def accepts(self, actual: Any) -> bool:
        if self.value is None or actual is None:
            return actual is self.value
        if isinstance(actual, bool) or not isinstance(actual, int | float):
            return False
        return abs(actual - self.value) <= self.relative * max(abs(self.value), abs(actual))


@dataclass(frozen=True, slots=True)
class Distinct:
    """A count of distinct values, within the sketch's error."""

    value: int
    relative: float = DISTINCT_ERROR

    def accepts(self, actual: Any) -> bool:
        return type(actual) is int and abs(actual - self.value) <= self.relative * self.value


@dataclass(frozen=True, slots=True)
class Rank:
    """A percentile, within the sketch's error in rank. `ordered` are all values, ascending, at least one."""

    ordered: tuple[float, ...]
    quantile: float
    error: float = RANK_ERROR

    @property
    def value(self) -> float:
        """The smallest value whose rank reaches the quantile."""
        place = math.ceil(self.quantile * len(self.ordered)) - 1
        return self.ordered[max(0, place)]

    def accepts(self, actual: Any) -> bool:
        if isinstance(actual, bool) or not isinstance(actual, int | float):
            return False
        count = len(self.ordered)
        slack = self.error + 1 / count
        lowest, highest = bisect_left(self.ordered, actual) / count, bisect_right(self.ordered, actual) / count
        inside = self.ordered[0] <= actual <= self.ordered[-1]
        return inside and lowest <= self.quantile + slack and highest >= self.quantile - slack
