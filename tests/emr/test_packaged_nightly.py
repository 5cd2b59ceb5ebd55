"""The package in a clean virtual environment: spark-submit runs the nightly with nothing else of this project in reach.

The environment is the dependency archive itself, unpacked, as a cluster's containers have it. It holds neither pyspark
nor Delta nor this project: Spark is the platform's (here the installed pyspark's own spark-submit and the resolved
jars), and the code comes from `--py-files`. Nothing is fetched.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf.settings import Settings
from emr.package import CODE, ENVIRONMENT, Package, build_package
from runtime.jars import spark_jars
from tidemark.keys import LakeTables

START = datetime(2026, 1, 5, 6, tzinfo=UTC)
EVENTS = 90
UTC_MICROS = pa.timestamp("us", tz="UTC")
BRONZE = pa.schema(
    [
        *(("raw", pa.string()), ("received_at", UTC_MICROS), ("source", pa.string())),
        *(("source_partition", pa.int32()), ("source_offset", pa.int64()), ("contract_version", pa.int32())),
        *(("event_id", pa.string()), ("timestamp", UTC_MICROS), ("device_id", pa.string()), ("user_id", pa.string())),
        *(("access_count", pa.int64()), ("tenant_id", pa.string()), ("ingest_date", pa.date32())),
    ]
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build_package(tmp_path_factory.mktemp("package"), os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def clean_python(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run(["tar", "-xf", package.folder / ENVIRONMENT, "-C", folder], check=True)
    return folder / "bin" / "python"


def write_bronze(settings: Settings) -> None:
    """One access a minute, all valid and distinct, as the lake writer would have left them."""
    moments = [START + timedelta(minutes=minute) for minute in range(EVENTS)]
    rows = [
        {
            **{"raw": "{}", "received_at": at, "source": "segment", "source_partition": 0, "source_offset": number},
            **{"contract_version": 1, "event_id": f"e{number}", "timestamp": at, "device_id": f"dev-{number % 2}"},
            **{"user_id": f"{number:064x}", "access_count": number, "tenant_id": None, "ingest_date": date(2026, 1, 5)},
        }
        for number, at in enumerate(moments)
    ]
    table = LakeTables(settings.lake_uri).bronze_events("access")
    write_deltalake(table, pa.Table.from_pylist(rows, schema=BRONZE), partition_by=["ingest_date"])


def clean_environment(python: Path, settings: Settings) -> dict[str, str]:
    """PATH and Java, the interpreter, and the places; nothing of the virtual environment that runs the tests."""
    spec = find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "SPARK_HOME": str(Path(spec.origin).parent),
        "PYSPARK_PYTHON": str(python),
        "PYSPARK_DRIVER_PYTHON": str(python),
        "TIDEMARK_HOME": str(settings.home),
        "TIDEMARK_REDIS_URL": str(settings.redis_url),
    }


def submit_locally(package: Package, environment: dict[str, str], arguments: Sequence[str]) -> str:
    jars = ",".join(str(jar) for jar in spark_jars()[0])
    command = [
        *(f"{environment['SPARK_HOME']}/bin/spark-submit", "--master", "local[2]", "--driver-memory", "1g"),
        *("--jars", jars, "--py-files", str(package.folder / CODE)),
        *("--conf", "spark.ui.enabled=false", "--conf", "spark.databricks.delta.snapshotPartitions=2"),
        *("--conf", "spark.driver.host=127.0.0.1"),
        *("--conf", "spark.driver.extraJavaOptions=-Duser.timezone=UTC -XX:TieredStopAtLevel=1"),
        *(str(package.folder / "nightly.py"), *arguments),
    ]
    done = subprocess.run(
        command, cwd=package.folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.spark
@pytest.mark.slow
def test_the_packaged_nightly_seals_in_a_clean_environment(
    package: Package, clean_python: Path, settings: Settings
) -> None:
    environment = clean_environment(clean_python, settings)
    for absent in ("pyspark", "delta", "tidemark"):
        probe = [str(clean_python), "-c", f"import {absent}"]
        alone = subprocess.run(probe, env=environment, cwd=settings.home, capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in alone.stderr, f"{absent} is in the archive: {alone.stderr}"
    write_bronze(settings)
    through = "2026-01-05T07:00:00Z"
    printed = submit_locally(package, environment, ["--env", "test", "--through", through, "--json"])
    sealed = json.loads(printed.strip().splitlines()[-1])["metrics"]["device_access"]
    assert (sealed["state"], sealed["sealed_through"]) == ("sealed", through)
    gold = DeltaTable(LakeTables(settings.lake_uri).gold("device_access")).to_pyarrow_table().to_pylist()
    counted = [row["total_users"] for row in gold if row["window"] == "10m"]
    assert (len(counted), sum(counted)) == (12, 60)
