"""Collected rows to Redis commands, without Spark."""

import json

import pyarrow as pa

from streaming.fenced_writer import SET_NEWER
from streaming.view_rows import ViewRows
from tests.streaming.stage import at, metric_of
from tidemark.metrics.slots import SLOTS_EXACT, unslot

POWER = metric_of(
    "power",
    "SELECT device_id, MAX(access_count) AS peak FROM access GROUP BY device_id",
    publish={"latest": "agg:{device_id}:latest", "window": "agg:{device_id}:{window_start}"},
)


def rows(*groups: tuple[int, int, str, int]) -> pa.Table:
    """(wlen, start, dims key, peak) as `aggregate_state` gives them."""
    outputs = [output for slot in SLOTS_EXACT for output in slot.outputs]
    (peak,) = unslot(POWER, 0).values()
    columns = {
        "family": [POWER.family] * len(groups),
        "part": [0] * len(groups),
        "wlen": [g[0] for g in groups],
        "start": [g[1] for g in groups],
        "dims_key": [g[2] for g in groups],
        **{output: pa.nulls(len(groups), pa.int64()) for output in outputs},
        peak: pa.array([g[3] for g in groups], pa.int64()),
    }
    return pa.table(columns)


def test_one_command_a_window_and_its_place_in_the_index() -> None:
    table = rows((600, 600, "1:b", 2), (600, 0, "1:a", 1), (600, 600, "1:a", 3), (1800, 0, "1:a", 3))
    commands = list(ViewRows("access", [POWER]).commands(table))
    hashes = [c for c in commands if c[0] == "HSET"]
    assert [(c[1].rsplit(":", 2)[1:], len(c)) for c in hashes] == [
        (["600", "0"], 4),
        (["600", "600"], 6),
        (["1800", "0"], 4),
    ]
    assert [c[2] for c in commands if c[0] == "ZADD"] == [0, 600, 0]


def test_published_values_are_of_the_finest_window_and_begin_with_their_stamp() -> None:
    start = at("00:10:00")
    commands = list(ViewRows("access", [POWER]).commands(rows((600, start, "1:a", 7), (1800, 0, "1:a", 9))))
    (latest,) = [c for c in commands if c[0] == SET_NEWER]
    (window,) = [c for c in commands if c[0] == "SET"]
    assert latest[1:3] == ("agg:a:latest", "2026-01-01T00:10:00Z")
    assert window[1] == "agg:a:2026-01-01T00:10:00Z"
    assert str(latest[3]).startswith('{"window_start":"2026-01-01T00:10:00Z"')
    assert json.loads(str(window[2]))["peak"] == 7
    assert window[3:] == ("KEEPTTL",), "the window is not sealed, so no time to live of its own"


def test_families_that_are_not_ours_any_more_are_ignored() -> None:
    assert list(ViewRows("access", []).commands(rows((600, 0, "1:a", 1)))) == []
