"""Weighted draws made fast: a table in which an item's share of places is its share of the draws."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")
TABLE = 4096


def table(items: Sequence[T], weights: Sequence[float]) -> list[T]:
    """About TABLE places, at least one per item. Draw with `places[int(random() * len(places))]`."""
    total = sum(weights)
    places = [max(1, round(weight / total * TABLE)) for weight in weights]
    return [item for item, count in zip(items, places, strict=True) for _ in range(count)]


def skewed(items: Sequence[T]) -> list[T]:
    """A table in which the first items come much more often than the last, as with real devices and products."""
    return table(items, [1 / (rank + 3) for rank in range(len(items))])


def log_normal_ms(rng: Random, median_ms: float, spread: float) -> int:
    """A positive duration with a long tail."""
    return max(1, int(median_ms * rng.lognormvariate(0.0, spread)))
