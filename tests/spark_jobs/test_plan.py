"""Which granules a batch computes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.plan import BEGINNING, bounded_spans, check_through, last_midnight, plan_metric
from tests.packs import SHIPPED
from tidemark.errors import UserError
from tidemark.publication import Publication
from tidemark.windows import Span, coalesce

METRIC = SHIPPED.metrics["device_access"]
T0 = 1_767_225_600


def _published(sealed_through: int) -> Publication:
    return Publication(
        "device_access",
        METRIC.family,
        4,
        sealed_through,
        7,
        3,
        "passed",
        0.0,
        T0,
        ((BEGINNING, sealed_through, 4),),
        METRIC.source_text,
    )


def test_the_first_batch_of_a_metric_computes_everything_below_the_seal() -> None:
    plan = plan_metric(METRIC, None, T0 + 3_599, [])
    assert (plan.rebuild, plan.version, plan.sealed_through) == (True, 1, T0 + 1_800)
    assert plan.spans == (Span(BEGINNING, T0 + 1_800),)


def test_dirty_and_new_granules_become_one_range_where_they_touch() -> None:
    plan = plan_metric(METRIC, _published(T0 + 3_600), T0 + 5_400, [T0 + 60, T0 + 1_860, T0 + 4_000])
    assert plan.spans == (Span(T0, T0 + 5_400),)
    assert (plan.dirty, plan.new, plan.version, plan.rebuild) == (2, 1, 5, False)
    assert plan.newly_sealed == Span(T0 + 3_600, T0 + 5_400)


def test_minutes_beyond_the_seal_are_not_dirty() -> None:
    assert plan_metric(METRIC, _published(T0 + 3_600), T0 + 3_600, [T0 + 3_600, T0 + 90_000]).is_idle


def test_a_seal_never_moves_back() -> None:
    assert plan_metric(METRIC, _published(T0 + 3_600), T0, []).sealed_through == T0 + 3_600


def test_another_family_is_rebuilt_up_to_the_old_seal() -> None:
    plan = plan_metric(METRIC, replace(_published(T0 + 3_600), family="device_access@old"), T0, [])
    assert (plan.rebuild, plan.sealed_through, plan.version) == (True, T0 + 3_600, 5)


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 8))
def test_bounding_covers_every_span_with_no_more_ranges_than_allowed(starts: list[int], limit: int) -> None:
    spans = [Span(start * 1_800, (start + 1) * 1_800) for start in starts]
    bounded = bounded_spans(spans, limit)
    assert len(bounded) <= limit
    assert list(coalesce(bounded)) == list(bounded)
    assert all(any(big.start <= span.start and span.end <= big.end for big in bounded) for span in spans)


def test_through_before_the_seal_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="device_access"):
        check_through([METRIC], {"device_access": _published(T0 + 3_600)}, T0, T0 + 9_999)
    check_through([METRIC], {"device_access": _published(T0 + 3_600)}, T0 + 3_600, T0 + 9_999)


def test_the_default_is_the_last_utc_midnight() -> None:
    assert last_midnight(T0 + 86_399.5) == T0
