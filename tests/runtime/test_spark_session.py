"""What the session builder sets, without starting one (tests/runtime/test_fixtures.py starts it)."""

import subprocess
import sys
from pathlib import Path

import pytest

from conf.settings import Settings
from runtime.spark_session import session_conf


def test_a_local_session_loads_its_own_jars_and_stays_below_the_home(tmp_path: Path) -> None:
    conf = session_conf(Settings(env="test", home=tmp_path))
    assert conf["spark.master"] == "local[2]"
    assert all(Path(jar).is_file() for jar in conf["spark.jars"].split(","))
    assert conf["spark.local.dir"].startswith(str(tmp_path))
    assert conf["spark.sql.warehouse.dir"].startswith(str(tmp_path))


def test_our_own_jvm_compiles_generated_code_of_any_length(tmp_path: Path) -> None:
    options = session_conf(Settings(env="local", home=tmp_path))["spark.driver.extraJavaOptions"].split()
    assert "-XX:-DontCompileHugeMethods" in options


def test_on_a_platform_master_memory_and_jars_are_left_to_it(tmp_path: Path) -> None:
    conf = session_conf(Settings(env="aws", home=tmp_path))
    theirs = {"spark.master", "spark.jars", "spark.driver.memory", "spark.local.dir", "spark.hadoop.fs.file.impl"}
    assert not theirs & conf.keys()
    assert conf["spark.sql.session.timeZone"] == "UTC"
    assert not list(tmp_path.iterdir())


def test_under_spark_submit_the_running_jvm_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert "spark.master" not in session_conf(Settings(env="local", home=tmp_path))


def test_an_object_store_lake_is_served_by_s3a(tmp_path: Path) -> None:
    settings = Settings(env="aws", home=tmp_path, lake="s3://bucket/lake", aws_region="eu-west-1")
    conf = session_conf(settings)
    assert conf["spark.hadoop.fs.s3.impl"].endswith("S3AFileSystem")
    assert conf["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"


def test_extra_settings_win(tmp_path: Path) -> None:
    conf = session_conf(Settings(env="aws", home=tmp_path), {"spark.sql.shuffle.partitions": "9"})
    assert conf["spark.sql.shuffle.partitions"] == "9"


def test_the_module_can_be_imported_without_spark() -> None:
    program = "import sys, runtime.spark_session; sys.exit('pyspark' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
