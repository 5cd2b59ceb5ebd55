"""How the speed layer's session is set: for small batches, one after the other."""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conf.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.spark
def test_each_optimiser_rule_that_is_left_out_is_one_that_spark_has(spark: "SparkSession") -> None:
    from streaming.speed_job import stream_conf

    optimizer = spark._jsparkSession.sessionState().optimizer()
    batches = optimizer.defaultBatches()
    rules = {
        batches.apply(i).rules().apply(j).ruleName()
        for i in range(batches.size())
        for j in range(batches.apply(i).rules().size())
    }
    left_out = stream_conf(Settings(env="test"))["spark.sql.optimizer.excludedRules"].split(",")
    assert set(left_out) <= rules
    required = optimizer.nonExcludableRules()
    assert not [rule for rule in left_out if required.contains(rule)]


def test_a_stream_on_this_machine_has_two_task_threads_a_core() -> None:
    from streaming.speed_job import stream_conf

    assert stream_conf(Settings(env="local"))["spark.master"] == f"local[{2 * (os.cpu_count() or 1)}]"


@pytest.mark.parametrize("master", [None, "local[3]", "yarn"])
def test_a_master_that_somebody_chose_stays(master: str | None) -> None:
    from streaming.speed_job import stream_conf

    assert "spark.master" not in stream_conf(Settings(env="local", spark_master=master))


def test_a_disk_that_is_full_is_one_line_also_as_a_plain_script(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded Redis needs the disk before the first query does."""
    from streaming import speed_job

    def full(_: Settings) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{home}/redis")

    monkeypatch.setattr(speed_job, "redis_url", full)
    assert speed_job.main(["--once"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("speed_job:")] == told[-1:]
    assert told[-1].startswith("speed_job: the disk is full: ")
    monkeypatch.setattr(speed_job, "redis_url", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        speed_job.main(["--once"])
