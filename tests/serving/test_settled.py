"""The settled part of an answer is read once, and never outlives who wrote it."""

from random import Random
from typing import Any

import pytest

from serving.settled import LARGEST_SHARE, SettledKey, SettledParts
from tests.serving.stage import Stage, ask, at
from tidemark import keys
from tidemark.windows import Span

STARTS = [at("00:00") + 600 * k for k in range(6)]
WATERMARK = at("00:50")

QUESTIONS: list[dict[str, Any]] = [
    {},
    {"dim": "device_id:dev-1"},
    {"window": "1h", "group_by": "device_id"},
    {"top": "1"},
    *(
        {"top": top, "group_by": "device_id", "order_by": order, "to": "2026-01-01T00:20:00Z"}
        for top, order in [("1", "avg_access"), ("1", "-avg_access"), ("2", "-avg_access"), ("1", None)]
    ),
]


def numbers(answer: Any) -> list[int]:
    return [point["values"]["total_users"] for point in answer.json()["points"]]


def windows(number: int, *, length: int = 6) -> dict[int, Any]:
    return {600: {(start, "dev-1"): (number, number) for start in STARTS[:length]}}


def test_closed_windows_are_read_once_and_open_ones_every_time(stage: Stage) -> None:
    with stage.api() as client:
        stage.stream(windows(1), watermark=WATERMARK)
        assert numbers(ask(client, dim="device_id:dev-1")) == [1] * 6
        stage.stream(windows(2), watermark=WATERMARK, batch=2)
        assert numbers(ask(client, dim="device_id:dev-1")) == [1, 1, 1, 1, 1, 2]


def test_a_ranking_is_read_once_when_all_of_it_is_settled(stage: Stage) -> None:
    with stage.api() as client:
        asked = {"top": "1", "group_by": "device_id"}
        stage.stream(windows(1), watermark=WATERMARK)
        assert numbers(ask(client, **asked)) == [1] * 6
        assert numbers(ask(client, to="2026-01-01T00:50:00Z", **asked)) == [1] * 5
        stage.stream(windows(2), watermark=WATERMARK, batch=2)
        assert numbers(ask(client, **asked)) == [2] * 6, "a part of it is open"
        assert numbers(ask(client, to="2026-01-01T00:50:00Z", **asked)) == [1] * 5


@pytest.mark.parametrize("change", [{"epoch": 2}, {"checkpoint": "another"}])
def test_another_writer_is_read_anew(stage: Stage, change: dict[str, Any]) -> None:
    with stage.api() as client:
        stage.stream(windows(1), watermark=WATERMARK)
        assert numbers(ask(client, dim="device_id:dev-1")) == [1] * 6
        stage.stream(windows(2), watermark=WATERMARK, batch=2, **change)
        assert numbers(ask(client, dim="device_id:dev-1")) == [2] * 6


def test_nothing_of_speed_is_kept_while_a_new_writer_takes_over(stage: Stage) -> None:
    with stage.api() as client:
        stage.stream(windows(1), watermark=WATERMARK)
        stage.client.set(keys.fence("access", "exact"), "2:1:stage")
        assert numbers(ask(client)) == [1] * 6
        stage.stream(windows(2), watermark=WATERMARK, epoch=2)
        assert numbers(ask(client)) == [2] * 6


def test_a_batch_replaces_what_was_kept_of_speed(stage: Stage) -> None:
    with stage.api() as client:
        stage.stream(windows(1), watermark=WATERMARK)
        assert numbers(ask(client)) == [1] * 6
        stage.seal(windows(3, length=3), at("00:30"), hot_from=at("00:00"))
        answer = ask(client).json()
        assert [(p["values"]["total_users"], p["state"]) for p in answer["points"]] == [
            *[(3, "sealed")] * 3,
            *[(1, "closed")] * 2,
            (1, "open"),
        ]


@pytest.mark.parametrize("seed", range(3))
def test_kept_parts_never_show(stage: Stage, seed: int) -> None:
    """Random progress of both layers: a process that has answered all along says what a fresh one says."""
    rng = Random(seed)
    watermark, sealed, epoch = at("00:00"), 0, 1
    with stage.api() as old:
        for step in range(12):
            epoch += rng.random() < 0.2
            watermark += rng.choice([0, 60, 600, 1200])
            open_windows = [start for start in STARTS if start + 600 > watermark]
            partials: dict[int, Any] = {600: {(s, f"dev-{d}"): (step, d) for s in open_windows for d in (1, 2)}}
            stage.stream(partials, watermark=watermark, epoch=epoch, batch=step)
            if rng.random() < 0.3 and sealed < 6:
                sealed += rng.choice([1, 2, 3])
                through = at("00:00") + 600 * sealed
                stage.seal(windows(100 + step, length=sealed), through, hot_from=at("00:00"))
            with stage.api() as fresh:
                for asked in QUESTIONS:
                    found, expected = (ask(client, **asked).json() for client in (old, fresh))
                    assert found | {"freshness_seconds": 0} == expected | {"freshness_seconds": 0}, (seed, step, asked)


def key(number: int) -> SettledKey:
    return SettledKey("f", 600, Span(0, number), (), (), 0, (), None)


def test_the_parts_used_last_are_kept_within_the_limit() -> None:
    parts = SettledParts(limit_bytes=64 * LARGEST_SHARE)
    for number in range(LARGEST_SHARE + 1):
        parts.put(key(number), bytes(64))
        parts.get(key(0))
    assert (parts.get(key(0)), parts.get(key(1)), parts.get(key(2))) == (bytes(64), None, bytes(64))
    parts.put(key(500), bytes(65))
    assert parts.get(key(500)) is None
