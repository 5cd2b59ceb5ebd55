"""Documents for apps that read Redis themselves: the values as an answer shows them."""

import json

from tests.packs import SHIPPED
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric
from tidemark.published import fill_template, make_document

START = 1_767_225_600


def last_seen() -> Metric:
    document = {
        "name": "last_seen",
        "description": "of this test",
        "sql": "SELECT device_id, MAX(timestamp) AS seen, MAX(access_count) AS most FROM access GROUP BY device_id",
        "windows": ["10m"],
        "schedule": "0 2 * * *",
        "retention": {"hot": "24h", "warm": "30d", "cold": "2y"},
        "category": "engagement",
        "publish": {"latest": "seen:{device_id}", "window": "seen:{device_id}:{window_start}"},
    }
    return compile_metric(document, SHIPPED.contracts)


def test_an_instant_is_iso_as_in_an_answer() -> None:
    """It was a number of microseconds."""
    metric = last_seen()
    document = make_document(metric, 600, START, b"5:dev-1", ((START + 61) * 1_000_000 + 500_000, 7))
    assert json.loads(document.text) == {
        "window_start": "2026-01-01T00:00:00Z",
        "window_end": "2026-01-01T00:10:00Z",
        "device_id": "dev-1",
        "seen": "2026-01-01T00:01:01.500000Z",
        "most": 7,
    }
    assert document.text.startswith('{"window_start":"2026-01-01T00:00:00Z"'), "Redis compares by it"
    assert document.keys == {"latest": "seen:dev-1", "window": "seen:dev-1:2026-01-01T00:00:00Z"}


def test_a_window_without_a_value_says_null() -> None:
    metric = last_seen()
    document = make_document(metric, 600, START, b"-", (None,) * len(metric.components))
    assert json.loads(document.text)["seen"] is None
    assert document.keys["latest"] == "seen:", "a dimension that is NULL"


def test_a_value_is_never_read_as_a_template() -> None:
    assert fill_template("a:{x}:{y}", {"x": "{y}", "y": "1"}) == "a:{y}:1"
