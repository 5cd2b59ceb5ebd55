"""The stream's check and the record check judge alike: reasons, version and every typed value."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conf.settings import Settings
from quality.record_check import check_record
from tests.quality.contracts import V2, everything
from tests.quality.corpus import ARRIVED, corpus
from tidemark.contracts import ContractSet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
KEY = "a key of the tests"
SCHEMA = "value binary, received_at timestamp, source string, source_partition int, source_offset bigint"


def parse(spark: "SparkSession", contract: ContractSet, raws: list[bytes]) -> "DataFrame":
    from quality.stream_check import parse_events

    rows = [(bytearray(raw), ARRIVED, "segment", 0, offset) for offset, raw in enumerate(raws)]
    settings = Settings(env="test", pseudonym_key=KEY)
    return parse_events(spark.createDataFrame(rows, SCHEMA), contract, settings)


def assert_agreement(spark: "SparkSession", contract: ContractSet, raws: list[bytes]) -> int:
    """Compares all records in one Spark job; gives back how many were valid."""
    differing, valid = [], 0
    rows = parse(spark, contract, raws).collect()
    assert len(rows) == len(raws)
    for row in rows:
        raw = raws[row.source_offset]
        checked = check_record(contract, raw, ARRIVED, KEY)
        seen = [tuple(row.reasons), row.contract_version, plain(row) if not row.reasons else None]
        meant = [checked.reasons, checked.contract_version, checked.event]
        if seen != meant:
            differing.append((raw[:200], f"stream {seen}", f"record {meant}"))
        kept = bytes(row.raw_bytes) if row.raw is None else row.raw.encode()
        assert kept == raw
        valid += not row.reasons
    assert not differing, f"{len(differing)} differ, first: " + "\n".join(map(str, differing[:15]))
    return valid


def plain(row: Any) -> dict[str, Any]:
    """A row's event as the record check gives it."""
    known = {
        "raw",
        "raw_bytes",
        "received_at",
        "source",
        "source_partition",
        "source_offset",
        "contract_version",
        "reasons",
    }
    return {name: as_utc(value) for name, value in row.asDict(recursive=True).items() if name not in known}


def as_utc(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, dict):
        return {name: as_utc(inner) for name, inner in value.items()}
    return value


def test_both_checks_agree_on_two_versions_side_by_side(spark: "SparkSession", tmp_path: Path) -> None:
    valid = assert_agreement(spark, everything(tmp_path), corpus())
    assert valid > 100


def test_both_checks_agree_on_a_single_version(spark: "SparkSession", tmp_path: Path) -> None:
    assert assert_agreement(spark, everything(tmp_path, V2), corpus(mixed=2000, seed=11)) > 100
