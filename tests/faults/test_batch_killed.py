"""kill -9 of the batch in each of its phases: readers see all of the old or all of the new, the next run finishes."""

from collections.abc import Iterator

import pytest

from tests.faults.batch_stage import ASKED, CONFLICTS, HOUR, QUESTIONS, T0, THROUGH, BatchStage
from tests.faults.readers import Readers, ask_all
from tests.faults.rig import SIGKILLED, Rig
from tidemark.windows import iso

pytestmark = [pytest.mark.spark, pytest.mark.fault]

CHAINS = {
    "silver": [
        "spark_jobs.build_silver:write_conflicts@1:before",
        "spark_jobs.build_silver:write_conflicts@1:after",
        "spark_jobs.build_silver:write_silver@1:after",
    ],
    "gold": [
        "spark_jobs.build_gold:write_gold@1:after",
        "spark_jobs.build_gold:write_gold@2:after",
        "spark_jobs.gates:expect_gold@2:before",
    ],
    "publish": [
        "spark_jobs.nightly:append_rows@1:after",
        "spark_jobs.nightly:replace_parity@1:after",
        "spark_jobs.hot_views:_write_hash@3:after",
        "spark_jobs.publish:commit_publications@1:before",
        "spark_jobs.publish:commit_publications@1:after",
        "spark_jobs.publish:point_to@1:before",
        "spark_jobs.late_ledger:_write@1:after",
    ],
    "after": [
        "spark_jobs.publish:point_to@1:after",
        "spark_jobs.publish:forget_late@1:before",
    ],
    "values": ["spark_jobs.publish:publish_values@2:before"],
}
"""Each run dies at the next place, on what the one before it has left. The last run is not disturbed."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, _redis_server: str) -> BatchStage:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIDEMARK_ENV", "test")
        return BatchStage(tmp_path_factory.mktemp("batch"), _redis_server)


@pytest.fixture
def stage(built: BatchStage) -> Iterator[BatchStage]:
    built.put_back()
    yield built
    built.put_back()


@pytest.mark.long
def test_the_stage_has_work_of_every_kind(built: BatchStage) -> None:
    counts = built.report["contracts"]["access"]
    assert counts["added"] > 3000
    assert counts["duplicates"] > 0
    assert counts["conflicts"] == CONFLICTS
    assert built.report["metrics"]["device_access"]["granules_dirty"] > 0
    assert built.report["metrics"]["device_access"]["granules_new"] == 4
    assert all(old != new for old, new in zip(built.before, built.after, strict=True))
    assert built.values_after


@pytest.mark.long
@pytest.mark.parametrize("chain", CHAINS)
def test_a_killed_batch_shows_all_or_nothing_and_the_next_one_finishes(stage: BatchStage, chain: str) -> None:
    with Readers(stage.settings, QUESTIONS) as readers:
        for place in CHAINS[chain]:
            stage.killed(place)
            assert stage.answers() in (stage.before, stage.after), place
        stage.rig.batch(THROUGH)
    assert readers.failure is None
    assert readers.asked > 3 * len(QUESTIONS)
    for question, old, new in zip(QUESTIONS, stage.before, stage.after, strict=True):
        assert readers.seen[question] in ([old, new], [old], [new]), f"{question}: {len(readers.seen[question])}"
    assert_finished(stage)


@pytest.mark.long
def test_a_publication_that_dies_before_and_after_its_commit_is_whole_or_not_there(rig: Rig) -> None:
    """Without late events the old and the new are both exact: so is every answer, whatever dies when."""
    with rig.produce(0.5, 4 * HOUR, 1, "--duplicates", "0.02", "--invalid", "0.02", start=T0) as producer:
        assert producer.wait() == 0, producer.text()
    rig.drain()
    questions = [("device_access", window, ASKED) for window in ("10m", "30m")]
    old = ask_all(rig.settings, questions)
    with Readers(rig.settings, questions) as readers:
        for when in ("before", "after"):
            place = f"spark_jobs.publish:commit_publications@1:{when}"
            with rig.command("batch", "--through", iso(T0 + 2 * HOUR), places=[place]) as driver:
                assert driver.wait() == SIGKILLED, driver.text()[-4000:]
            rig.assert_exact()
            assert when == "after" or ask_all(rig.settings, questions) == old
        rig.batch(T0 + 2 * HOUR)
    new = ask_all(rig.settings, questions)
    assert readers.failure is None
    assert readers.asked > 20
    for question, before, after in zip(questions, old, new, strict=True):
        assert readers.seen[question] == [before, after]
    assert '"batch_version": 1' in new[0]
    rig.assert_exact()
    rig.assert_conserved()


def assert_finished(stage: BatchStage) -> None:
    """Answers, tables and what apps read are those of a batch that nothing broke; R and C hold."""
    assert stage.answers() == stage.after
    for name, rows in stage.tables().items():
        assert rows == stage.tables_after[name], name
    assert stage.published_values() == stage.values_after
    stage.rig.assert_exact()
    stage.rig.assert_conserved()
