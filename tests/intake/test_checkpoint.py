"""Reading Spark's checkpoint layout without Spark, and against Spark itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intake.checkpoint import consumed_position
from intake.position import lag
from intake.segments import FileSource
from tidemark.errors import Fault

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

META = '{"batchWatermarkMs":0,"batchTimestampMs":1,"conf":{}}'


def write_log(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(["v1", *lines]))


def file_entry(number: int, batch: int) -> str:
    return json.dumps({"path": f"file:///x%20y/{name(number)}", "timestamp": 1, "batchId": batch})


def name(number: int) -> str:
    return f"{number:020d}-abcd-10.parquet"


def segments(*numbers: int) -> dict[str, list[str]]:
    return {"segments": [name(number) for number in numbers]}


@pytest.fixture
def files_checkpoint(tmp_path: Path) -> Path:
    """Batches 0 to 11 of one file each; 9 is compacted; 11 is planned and listed, but not committed."""
    root = tmp_path / "checkpoint"
    for batch in range(12):
        write_log(root / "offsets", str(batch), META, json.dumps({"logOffset": batch}))
        if batch < 11:
            write_log(root / "commits", str(batch), '{"nextBatchWatermarkMs":0}')
        if batch != 9:
            write_log(root / "sources" / "0", str(batch), file_entry(batch, batch))
    write_log(root / "sources" / "0", "9.compact", *(file_entry(batch, batch) for batch in range(10)))
    (root / "commits" / ".11.tmp").write_text("v1\n{}")
    return root


def test_only_committed_batches_count(files_checkpoint: Path) -> None:
    assert consumed_position(str(files_checkpoint)) == segments(*range(11))


def test_a_compaction_ahead_of_the_commit_does_not_count_too_much(files_checkpoint: Path) -> None:
    for batch in (8, 9, 10):
        (files_checkpoint / "commits" / str(batch)).unlink()
    assert consumed_position(str(files_checkpoint)) == segments(*range(8))


def test_compacted_logs_that_spark_deleted_are_not_missed(files_checkpoint: Path) -> None:
    for batch in range(9):
        (files_checkpoint / "sources" / "0" / str(batch)).unlink()
    assert consumed_position(f"file://{files_checkpoint}") == segments(*range(11))


def test_nothing_is_consumed_before_the_first_commit(tmp_path: Path) -> None:
    assert consumed_position(str(tmp_path / "nowhere")) is None
    write_log(tmp_path / "offsets", "0", META, '{"logOffset":0}')
    assert consumed_position(str(tmp_path)) is None


def test_a_batch_without_an_offset_consumed_nothing(tmp_path: Path) -> None:
    write_log(tmp_path / "offsets", "0", META, "-")
    write_log(tmp_path / "commits", "0", "{}")
    assert consumed_position(str(tmp_path)) is None


def test_kafka_offsets_are_read_as_they_are(tmp_path: Path) -> None:
    write_log(tmp_path / "offsets", "0", META, '{"tidemark.access":{"0":7,"1":3}}')
    write_log(tmp_path / "commits", "0", "{}")
    consumed = consumed_position(str(tmp_path))
    assert consumed == {"tidemark.access": {"0": 7, "1": 3}}
    assert lag({"tidemark.access": {"0": 9, "1": 3, "2": 4}}, consumed) == 6


def test_an_unknown_log_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "offsets").mkdir()
    (tmp_path / "offsets" / "0").write_text("v7\n{}\n{}")
    write_log(tmp_path / "commits", "0", "{}")
    with pytest.raises(Fault, match="begins with 'v7' instead of v1"):
        consumed_position(str(tmp_path))


def test_a_checkpoint_on_s3_is_read(files_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _s3_server(monkeypatch) as bucket:
        for file in files_checkpoint.rglob("*"):
            if file.is_file():
                bucket.upload_file(str(file), f"checkpoints/lake/{file.relative_to(files_checkpoint)}")
        assert consumed_position("s3a://tide/checkpoints/lake") == segments(*range(11))


@pytest.mark.spark
def test_spark_writes_what_we_read(spark: "SparkSession", tmp_path: Path) -> None:
    log = FileSource(tmp_path / "source" / "access")
    checkpoint = tmp_path / "checkpoint"
    for count in range(1, 13):
        log.append([b"{}"] * count)
    for expected in (log.end_position(), None):
        if expected is None:
            log.append([b"{}"] * 5)
            assert lag(log.end_position(), consumed_position(str(checkpoint))) == 5
        _drain(spark, log, checkpoint)
        assert consumed_position(str(checkpoint)) == log.end_position()
    log.clean(set(log.segment_names()), 0, _later())
    log.append([b"{}"])
    _drain(spark, log, checkpoint)
    assert lag(log.end_position(), consumed_position(str(checkpoint))) == 0


def _drain(spark: "SparkSession", log: FileSource, checkpoint: Path) -> None:
    frame = (
        spark.readStream.schema("value binary, received_at timestamp")
        .option("maxFilesPerTrigger", 1)
        .parquet(str(log.folder))
        .selectExpr("value", "_metadata.file_name", "_metadata.row_index")
    )
    query = frame.writeStream.format("noop").option("checkpointLocation", str(checkpoint))
    query.trigger(availableNow=True).start().awaitTermination()


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


@contextmanager
def _s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(variable, value)
    try:
        bucket = boto3.resource("s3", endpoint_url=f"http://127.0.0.1:{port}").Bucket("tide")
        bucket.create(CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield bucket
    finally:
        server.stop()
