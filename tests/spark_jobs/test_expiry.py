"""Deletion after `cold` is published before anything is deleted. No JVM."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from conf.settings import Settings
from spark_jobs import maintain
from spark_jobs.ledgers import latest_publications
from spark_jobs.plan import plan_metric
from spark_jobs.publish import new_publication
from tests.packs import SHIPPED
from tests.serving.stage import Stage, ask, at, instant
from tidemark.publication import Publication
from tidemark.windows import Span

DAY = 86_400
OLD = at("00:00") - 3 * DAY
"""Its windows lie in the past of what the test keeps; those of the first of January do not."""


@pytest.fixture
def stage(settings: Settings, redis_url: str) -> Iterator[Stage]:
    stage = Stage(settings, redis_url)
    with stage.closing:
        stage.seal({600: {(OLD, "dev-1"): (1, 1), (at("00:00"), "dev-1"): (2, 2)}}, at("01:00"))
        yield stage


def maintained(stage: Stage, days: int, *, dry_run: bool = False) -> list[maintain.Maintained]:
    """So many days after OLD is just within `cold`."""
    now = OLD + stage.metric.retention.cold_s + days * DAY
    return maintain.run(stage.settings, SHIPPED, now, dry_run)


def newest(stage: Stage) -> Publication:
    return latest_publications(stage.tables)[stage.metric.name]


def test_what_is_deleted_is_published(stage: Stage) -> None:
    before = newest(stage)
    assert maintained(stage, 2)[0].deleted_before == "2025-12-31"
    after = newest(stage)
    assert after == replace(before, version=2, kept_from=at("00:00") - DAY, published_at=after.published_at)
    maintained(stage, 2)
    assert newest(stage) == after, "nothing more was deleted"


@pytest.mark.parametrize(("days", "dry_run"), [(0, False), (2, True)], ids=["nothing is old enough", "a dry run"])
def test_what_is_not_deleted_is_not_published(stage: Stage, days: int, dry_run: bool) -> None:
    before = newest(stage)
    maintained(stage, days, dry_run=dry_run)
    assert newest(stage) == before


def test_no_more_is_called_deleted_than_batch_owned(stage: Stage) -> None:
    maintained(stage, 400)
    assert newest(stage).kept_from == at("01:00")


def test_a_deletion_that_fails_was_published_before(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk")

    monkeypatch.setattr(maintain, "maintain_gold", fail)
    with pytest.raises(maintain.LakeUnavailable):
        maintained(stage, 2)
    assert newest(stage).kept_from == at("00:00") - DAY


def test_the_next_batch_keeps_it_unless_it_computes_everything_anew(stage: Stage) -> None:
    maintained(stage, 2)
    known = newest(stage)
    later, full = (plan_metric(stage.metric, known, at("02:00"), [], full) for full in (False, True))
    assert new_publication(later, 7, 7, 0.0).kept_from == known.kept_from
    assert new_publication(full, 7, 7, 0.0).kept_from is None


def test_an_answer_says_so_as_soon_as_it_reads_the_lake_without_the_windows(stage: Stage) -> None:
    maintained(stage, 2)
    asked = {"from_": "2025-12-29T00:00:00Z", "to": instant("01:00")}
    with stage.api() as client:
        pinned = ask(client, **asked).json()
        stage.published = newest(stage)
        stage.seal({600: {(at("00:00"), "dev-1"): (2, 2)}}, at("01:00"), spans=[Span(0, 0)],
                   kept_from=stage.published.kept_from)  # fmt: skip
        after = ask(client, **asked).json()
    assert (pinned["complete"], len(pinned["points"])) == (True, 2)
    assert (after["complete"], len(after["points"])) == (False, 1)
    assert after["missing"] == [{"from": asked["from_"], "to": "2025-12-31T00:00:00Z", "reason": "expired"}]
