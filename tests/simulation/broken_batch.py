"""The batch and its publication with one rule broken."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from spark_jobs import publish
from tests.simulation.nightly_model import NightlyModel


def no_barrier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NightlyModel, "wait_for_lake", lambda self, end: None)


def late_events_make_nothing_dirty(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NightlyModel, "late_minutes", lambda self, before, silver: set())


def speed_expires_before_the_pointer_moves(patch: pytest.MonkeyPatch) -> None:
    def run(client: Any, tables: Any, planned: Sequence[Any], check_sole: Any) -> None:
        for plan, publication in planned:
            publish.prepare_hot(client, tables, plan.metric, publication, plan.spans)
        publish.commit_publications(tables, [publication for _, publication in planned])
        for plan, publication in planned:
            publish.clean_up(client, plan.metric, publication, plan.previous)
        publish.point_to(client, [publication for _, publication in planned])

    patch.setattr(publish, "run", run)


def pointer_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    def run(client: Any, tables: Any, planned: Sequence[Any], check_sole: Any) -> None:
        for plan, publication in planned:
            publish.prepare_hot(client, tables, plan.metric, publication, plan.spans)
        publish.point_to(client, [publication for _, publication in planned])
        publish.commit_publications(tables, [publication for _, publication in planned])

    patch.setattr(publish, "run", run)


def unsealed_speed_windows_expire(patch: pytest.MonkeyPatch) -> None:
    expire = publish.expire_speed

    def eager(client: Any, family: str, lengths: Iterable[int], sealed_through: int | None) -> None:
        expire(client, family, lengths, None if sealed_through is None else sealed_through + 3600)

    patch.setattr(publish, "expire_speed", eager)
