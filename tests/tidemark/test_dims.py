"""Dims keys: netstrings, so that no value can be mistaken for another."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tidemark.definitions import compiled
from tidemark.dims import canonical_text, decode_dims, decode_texts, dims_key_sql, encode_dims, typed_value
from tidemark.errors import QueryError
from tidemark.metrics.model import Dim

TEXTS = st.lists(st.none() | st.text(), max_size=4)


@given(TEXTS)
@example(["5:dev-1", "-", "", None, "ü:1", "\x00", "😀"])
def test_a_key_gives_its_values_back(texts: list[str | None]) -> None:
    assert decode_texts(encode_dims(texts)) == tuple(texts)


@given(TEXTS, TEXTS)
@example(["1:a"], ["1", "a"])
@example([None], [""])
@example([None], ["-"])
def test_different_groups_have_different_keys(one: list[str | None], other: list[str | None]) -> None:
    assert (encode_dims(one) == encode_dims(other)) == (one == other)


def test_the_form_of_a_key_is_fixed() -> None:
    assert encode_dims([]) == b""
    assert encode_dims(["dev-1", None, "", "ü"]) == b"5:dev-1-0:2:\xc3\xbc"


@pytest.mark.parametrize("key", [b"x", b"3", b"a:b", b"1:\xff", b":"])
def test_a_foreign_key_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_texts(key)


METRIC = compiled("SELECT kind, site, active, seen, COUNT(*) AS n FROM events GROUP BY kind, site, active, seen")


def test_values_come_back_as_json_of_their_type() -> None:
    key = encode_dims(["a", "-7", "true", "1767225600000001"])
    assert decode_dims(METRIC, key) == {
        "kind": "a", "site": -7, "active": True, "seen": "2026-01-01T00:00:00.000001Z",
    }  # fmt: skip
    assert decode_dims(METRIC, encode_dims([None] * 4)) == dict.fromkeys(("kind", "site", "active", "seen"))
    with pytest.raises(ValueError, match="zip"):
        decode_dims(METRIC, encode_dims(["a"]))


def test_the_last_microsecond_of_the_calendar_is_no_surprise() -> None:
    assert typed_value(METRIC.dims[3], "253402300799999999") == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("type_", "given", "expected"),
    [
        ("string", " a:b ", " a:b "), ("long", "007", "7"), ("long", "-3", "-3"),
        ("long", "9223372036854775807", "9223372036854775807"),
        ("long", "-9223372036854775808", "-9223372036854775808"),
        ("timestamp", "0001-01-01T00:00:00Z", "-62135596800000000"), ("boolean", "true", "true"),
        ("boolean", "false", "false"), ("timestamp", "2026-01-01T01:00:00.000001+01:00", "1767225600000001"),
        ("timestamp", "9999-12-31T23:59:59.999999Z", "253402300799999999"),
    ],
)  # fmt: skip
def test_what_a_user_writes_becomes_the_canonical_text(type_: str, given: str, expected: str) -> None:
    assert canonical_text(Dim("d", "`d`", type_), given) == expected


@pytest.mark.parametrize(
    ("type_", "given", "why"),
    [
        ("long", "x", "dim: d is a whole number, not 'x'"), ("long", "1.5", "whole number"),
        ("long", "1_0", "whole number"), ("long", "٣", "whole number"), ("long", "9" * 5000, "whole number"),
        ("long", "99999999999999999999", "dim: d is a whole number of 64 bits, not '99999999999999999999'"),
        ("long", "9223372036854775808", "64 bits"), ("long", "-9223372036854775809", "64 bits"),
        ("boolean", "TRUE", "dim: d is true or false, not 'TRUE'"),
        ("timestamp", "2026-01-01", "dim: d: '2026-01-01' is not an ISO 8601 instant"),
    ],
)  # fmt: skip
def test_what_no_dimension_holds_is_refused(type_: str, given: str, why: str) -> None:
    with pytest.raises(QueryError) as refused:
        canonical_text(Dim("d", "`d`", type_), given)
    assert why in str(refused.value)
    assert refused.value.parameter == "dim"


def test_a_metric_without_dimensions_has_the_empty_key() -> None:
    metric: Any = compiled("SELECT COUNT(*) AS n FROM events")
    assert dims_key_sql(metric.dims) == "''"
    assert decode_dims(metric, b"") == {}
