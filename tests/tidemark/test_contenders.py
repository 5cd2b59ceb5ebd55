"""A ranking of the contenders alone is the ranking of all."""

from random import Random

import pytest

from tests.tidemark.definitions import compiled
from tidemark.contenders import contenders
from tidemark.dims import encode_dims
from tidemark.merge import Query, merge_points
from tidemark.partials import PartialCodec
from tidemark.points import Row
from tidemark.windows import Span

METRIC = compiled(
    "SELECT device, kind, AVG(amount) AS mean, SUM(amount) AS total, COUNT(*) AS n, MAX(at) AS last "
    "FROM events GROUP BY device, kind"
)
CODEC = PartialCodec(METRIC)
BOTH = ("device", "kind")
SPAN = Span(0, 600)


def window(rng: Random, size: int, largest: int, nulls: float = 0.0) -> dict[bytes, bytes]:
    """Totals from a few values, so that many groups tie; beyond 2^53, where doubles no longer tell neighbours apart."""
    found = {}
    for number in range(size):
        total = None if rng.random() < nulls else rng.choice([-1, 1]) * rng.randrange(largest)
        count = 0 if total is None else rng.randrange(1, 4)
        values = {"SUM_INT": total, "MAX_INT": number}
        partial = tuple(values.get(c.kind.name, count) for c in METRIC.components)
        found[encode_dims([f"d{number}", rng.choice(["a", None])])] = CODEC.encode(partial)
    return found


def points(query: Query, held: dict[bytes, bytes]) -> object:
    rows = [Row(0, key, CODEC.decode(packed)) for key, packed in held.items()]
    return merge_points(METRIC, query, None, [], rows, None, ())


@pytest.mark.parametrize("order_by", [None, "mean", "-mean", "total", "-total", "n", "-n", "-last"])
@pytest.mark.parametrize("largest", [3, 1_000, 2**60])
def test_the_first_are_the_same_without_the_others(order_by: str | None, largest: int) -> None:
    rng = Random(largest)
    for top in (1, 5, 40):
        held = window(rng, 200, largest)
        query = Query("m", 600, SPAN, group_by=BOTH, top=top, order_by=order_by)
        assert points(query, contenders(METRIC, query, CODEC, held)) == points(query, held)


def test_most_are_left_out() -> None:
    held = window(Random(1), 5_000, 1_000_000)
    query = Query("m", 600, SPAN, group_by=BOTH, top=10, order_by="-total")
    assert 10 <= len(contenders(METRIC, query, CODEC, held)) < 20


@pytest.mark.parametrize(
    "given",
    [
        {"group_by": ("device",)},
        {"group_by": BOTH, "filters": {"kind": "a"}},
        {"group_by": BOTH, "order_by": "-last"},
        {"group_by": BOTH, "top": None, "order_by": "-n"},
    ],
)
def test_nothing_is_left_out_where_it_cannot_be_told(given: dict[str, object]) -> None:
    held = window(Random(2), 100, 50)
    query = Query("m", 600, SPAN, **{"top": 5, "order_by": "-n", **given})  # type: ignore[arg-type]
    assert contenders(METRIC, query, CODEC, held) == held


def test_nulls_and_unreadable_partials_are_left_to_the_merge() -> None:
    query = Query("m", 600, SPAN, group_by=BOTH, top=3, order_by="-mean")
    held = window(Random(3), 100, 50, nulls=0.2)
    assert contenders(METRIC, query, CODEC, held) == held
    held = window(Random(3), 100, 50) | {encode_dims(["x", "y"]): b"?"}
    assert contenders(METRIC, query, CODEC, held) == held
