"""Serving with one rule broken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serving import answer_service
from serving.answer_service import AnswerService
from serving.speed_store import Head
from tests.simulation.broken_stream import Mutation
from tests.simulation.definitions import PEAKS, TOTALS
from tidemark.coverage import Missing, Reason, SpeedState, find_missing
from tidemark.merge import split
from tidemark.points import Groups
from tidemark.publication import Publication
from tidemark.windows import Span


def with_missing(change: Callable[[SpeedState | None], SpeedState | None]) -> Mutation:
    """Coverage is worked out from something else than what is known of the lane."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def found(metric: Any, publication: Any, speed: SpeedState | None, *rest: Any) -> tuple[Missing, ...]:
            return find_missing(metric, publication, change(speed), *rest)

        patch.setattr(answer_service, "find_missing", found)

    return mutate


def covered_always(speed: SpeedState | None) -> SpeedState | None:
    if speed is None or speed.progress is None:
        return speed
    families = {metric.family: None for metric in (TOTALS, PEAKS)}
    return replace(speed, progress=replace(speed.progress, families=families))


def no_backlog(speed: SpeedState | None) -> SpeedState | None:
    return None if speed is None else replace(speed, backlog=0)


def always_incomplete(patch: pytest.MonkeyPatch) -> None:
    def found(metric: Any, publication: Any, speed: Any, span: Span, *rest: Any) -> tuple[Missing, ...]:
        return (Missing(span, Reason.NOT_COVERED),)

    patch.setattr(answer_service, "find_missing", found)


def both_layers_at_the_seam(patch: pytest.MonkeyPatch) -> None:
    """Speed answers from the beginning of the window that the seam cuts."""

    def overlapping(span: Span, publication: Publication | None) -> tuple[Span, Span]:
        batch, speed = split(span, publication)
        return batch, Span(max(span.start, speed.start - 1800), speed.end)

    add = Groups.add

    def add_all(self: Groups, rows: Any, layer: str, span: Span) -> None:
        add(self, rows, layer, Span(span.start - 1800, span.end) if layer == "speed" else span)

    patch.setattr(answer_service, "split", overlapping)
    patch.setattr(Groups, "add", add_all)


def kept_points_outlive_their_writer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Head, "writer", property(lambda self: "any"))


def kept_points_outlive_their_publication(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publication, "runs_in", lambda self, span: ())


def kept_points_of_untrusted_parts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AnswerService, "_settled", _settled_whatever_is_missing(AnswerService._settled))


def _settled_whatever_is_missing(settled: Any) -> Any:
    async def run(self: Any, situation: Any, missing: Any) -> Any:
        return await settled(self, situation, ())

    return run
