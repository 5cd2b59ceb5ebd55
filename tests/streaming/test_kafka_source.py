"""The speed views and the lake from a real broker."""

import pytest

from conf.settings import Settings
from tests.streaming.stage import Stage, access, at

pytestmark = [pytest.mark.spark, pytest.mark.kafka]


def test_a_topic_is_drained_into_views_and_lake_and_gone_on_with(
    settings: Settings, spark: object, kafka_bootstrap: str
) -> None:
    changed = settings.model_copy(
        update={"source": "kafka", "kafka_bootstrap": kafka_bootstrap, "kafka_topic_prefix": "speed."}
    )
    stage = Stage(spark, changed)  # type: ignore[arg-type]
    stage.append(access("a", "00:00:00"), b"{")
    stage.once()
    stage.append(access("b", "00:01:00"), access("a", "00:00:00"))
    stage.once()
    lake = stage.write_lake()
    assert stage.windows()[(600, at("00:00:00"), "5:dev-1")] == (2, 2)
    assert stage.progress().position == stage.source.end_position()
    assert lake.note.records == {"received": 4, "valid": 3, "quarantined": 1}
    assert not stage.lane().has_work()
    stage.client.close()
