"""Redis is emptied, repaired or set back between the head of an answer and its partials: never a silent zero."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.speed_store import SpeedStore
from serving.views import Views
from tests.serving.stage import Stage, ask, at, instant
from tidemark import keys
from tidemark.windows import Span, starts

EVENING = "2026-01-01T04:00:00Z"
HELD = tuple(starts(Span(at("00:30"), at("04:00")), 600))
"""More windows than come with the head."""
ALL_AND_ONE = pytest.mark.parametrize("dim", [None, "device_id:dev-1"], ids=["all entities", "one entity"])
Happening = Callable[[Stage], None]
Partials = Callable[..., Awaitable[Any]]


def flow(stage: Stage, number: int = 1, **progress: Any) -> None:
    partials: dict[int, Any] = {600: {(start, "dev-1"): (number, number) for start in HELD}}
    stage.stream(partials, **{"watermark": at("03:50"), **progress})


def begin(stage: Stage) -> None:
    stage.seal({600: {(at("00:00"), "dev-1"): (5, 5)}}, at("00:30"), hot_from=at("00:00"))
    flow(stage, batch=7)


def between_reads(patch: pytest.MonkeyPatch, stage: Stage, happening: Happening, *, each_time: bool = False) -> None:
    """`happening` comes after the head was read, the first time or each time."""
    read: Partials = SpeedStore.partials

    async def partials(self: SpeedStore, *arguments: Any) -> Any:
        if not each_time:
            patch.setattr(SpeedStore, "partials", read)
        happening(stage)
        return await read(self, *arguments)

    patch.setattr(SpeedStore, "partials", partials)


def emptied(stage: Stage) -> None:
    stage.client.flushall()


def repaired(stage: Stage) -> None:
    """A stream took over and could bring back what was open, from its state."""
    for start in HELD[:-1]:
        stage.client.delete(keys.speed_window(stage.metric.family, 600, start))
        stage.client.zrem(keys.speed_index(stage.metric.family, 600), start)
    family = {stage.metric.family: HELD[-1]}
    stage.stream({}, epoch=2, batch=7, watermark=at("03:50"), families=family)


def set_back(stage: Stage) -> None:
    """A replica that had not heard the newest batch is the primary now."""
    flow(stage, 1, batch=6, watermark=at("03:40"))


def numbers(document: Any) -> list[int]:
    return [point["values"]["total_users"] for point in document["points"]]


@ALL_AND_ONE
def test_a_redis_that_is_emptied_between_the_reads_is_missing_not_zero(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, dim: str | None
) -> None:
    begin(stage)
    between_reads(monkeypatch, stage, emptied)
    with stage.api() as client:
        document = ask(client, dim=dim, to=EVENING).json()
        assert numbers(document) == [5]
        assert document["missing"] == [{"from": instant("00:30"), "to": EVENING, "reason": "speed_unavailable"}]
        stage.point(stage.published)  # type: ignore[arg-type]
        flow(stage, batch=7)
        document = ask(client, dim=dim, to=EVENING).json()
    assert numbers(document) == [5] + [1] * len(HELD), "what was lost was not kept as the settled part"
    assert document["complete"] is True


@ALL_AND_ONE
def test_what_a_repair_removed_between_the_reads_is_not_covered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, dim: str | None
) -> None:
    begin(stage)
    between_reads(monkeypatch, stage, repaired)
    with stage.api() as client:
        document = ask(client, dim=dim, to=EVENING).json()
    assert numbers(document) == [5, 1]
    assert document["missing"] == [{"from": instant("00:30"), "to": instant("03:50"), "reason": "not_covered"}]


@ALL_AND_ONE
def test_partials_older_than_the_head_are_not_taken_for_its_own(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, dim: str | None
) -> None:
    begin(stage)
    flow(stage, 2, batch=7)
    between_reads(monkeypatch, stage, set_back)
    with stage.api() as client:
        document = ask(client, dim=dim, to=EVENING).json()
    assert document["watermark"] == instant("03:40")
    assert numbers(document) == [5] + [1] * len(HELD)


@ALL_AND_ONE
def test_views_that_are_replaced_again_and_again_are_not_available(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, dim: str | None
) -> None:
    begin(stage)
    epochs = iter(range(2, 100))
    between_reads(monkeypatch, stage, lambda stage: flow(stage, epoch=next(epochs)), each_time=True)
    with stage.api() as client:
        document = ask(client, dim=dim, to=EVENING).json()
    assert numbers(document) == [5]
    assert document["missing"] == [{"from": instant("00:30"), "to": EVENING, "reason": "speed_unavailable"}]
    assert next(epochs) == 4, "two heads, not more"


@ALL_AND_ONE
def test_a_batch_of_the_same_stream_between_the_reads_costs_no_round_trip(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, dim: str | None
) -> None:
    begin(stage)
    between_reads(monkeypatch, stage, lambda stage: flow(stage, 3, batch=8))
    trips = []
    for name in ("pipeline", "script"):
        call: Any = getattr(Views, name)

        def counted(self: Views, *arguments: Any, _call: Any = call) -> Any:
            trips.append(arguments)
            return _call(self, *arguments)

        monkeypatch.setattr(Views, name, counted)
    with stage.api() as client:
        document = ask(client, dim=dim, from_=instant("00:30"), to=EVENING).json()
    assert numbers(document) == [3] * len(HELD)
    # The head, then the settled part and the moving one; of one entity the latter came with the head.
    assert len(trips) <= 3
