"""Settings: names, precedence, and the one line for what cannot be used."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conf import settings as module
from conf.settings import PACKAGED, Settings, load_settings
from tidemark.errors import SettingsError


def test_without_anything_set_all_lies_below_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEMARK_ENV")
    settings = load_settings()
    assert settings.home == tmp_path / ".tidemark"
    assert settings.lake_uri == str(tmp_path / ".tidemark/lake")
    assert settings.checkpoints_uri == str(tmp_path / ".tidemark/checkpoints")
    assert settings.metadata_uri == f"sqlite:///{tmp_path}/.tidemark/metadata.db"
    assert settings.definition_folders == (PACKAGED,)
    assert (settings.source, settings.kafka_topic_prefix, settings.redis_url) == ("files", "tidemark.", None)


def test_a_variable_wins_over_the_environment_file_and_that_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_LAKE_TRIGGER_S", "7")
    settings = load_settings("test")
    assert settings.lake_trigger_s == 7
    assert settings.speed_trigger_s == 0
    assert settings.stale_after_s == 30


def test_the_environment_asked_for_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_ENV", "local")
    assert load_settings("aws").spark_master is None
    assert load_settings("aws").env == "aws"


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_REDIS_URL", "")
    assert load_settings().redis_url is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TIDEMARK_LAKE_TRIGER_S", "1", "did you mean TIDEMARK_LAKE_TRIGGER_S?"),
        ("TIDEMARK_SOMETHING_ELSE", "1", "unknown setting"),
        ("TIDEMARK_ENV", "prod", "none of local, test, aws"),
        ("TIDEMARK_SOURCE", "carrier-pigeon", "'files', 'kafka' or 'kinesis'"),
        ("TIDEMARK_LAKE", "gs://bucket/lake", "neither a path nor"),
        ("TIDEMARK_CHECKPOINTS", "s3:///nobucket", "neither a path nor"),
        ("TIDEMARK_STALE_AFTER_S", "nan", "finite"),
        ("TIDEMARK_STALE_AFTER_S", "-1", "greater than 0"),
        ("TIDEMARK_SHUFFLE_PARTITIONS", "two", "integer"),
        ("TIDEMARK_REDIS_URL", "localhost:6379", "redis://"),
        ("TIDEMARK_REDIS_URL", "redis://localhost:abc", "port"),
        ("TIDEMARK_REDIS_URL", "redis://localhost:99999", "port"),
        ("TIDEMARK_REDIS_URL", "redis://localhost:6379?socket_timeout=soon", "option"),
        ("TIDEMARK_METADATA_URL", "metadata.db", "SQLAlchemy URL"),
        ("TIDEMARK_METADATA_URL", "postgresql://host:port/name", "SQLAlchemy URL"),
        ("TIDEMARK_METADATA_URL", "mysql://host/name", "SQLAlchemy URL"),
        ("TIDEMARK_KAFKA_BOOTSTRAP", "nonsense::", "host:port"),
        ("TIDEMARK_KAFKA_BOOTSTRAP", "broker-1:9092,broker-2", "'broker-2' is not"),
        ("TIDEMARK_KAFKA_BOOTSTRAP", "broker:99999", "host:port"),
        ("TIDEMARK_KINESIS_ENDPOINT", "nonsense", "http://"),
        ("TIDEMARK_HOME", "/dev/null", "not a folder"),
        ("TIDEMARK_DEFINITIONS", "/no/such/folder", "not a folder"),
        ("TIDEMARK_PSEUDONYM_KEY", "short", "16 characters"),
        ("TIDEMARK_DRIVER_MEMORY", "lots", "match"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    line = str(raised.value)
    assert line.startswith(name)
    assert says in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIDEMARK_REDIS_URL", "rediss://user:sesame@cache.example:6380/2?socket_timeout=3"),
        ("TIDEMARK_REDIS_URL", "unix:///run/redis.sock"),
        ("TIDEMARK_METADATA_URL", "postgresql+psycopg://user:sesame@host:5432/name"),
        ("TIDEMARK_KAFKA_BOOTSTRAP", "broker-1.example:9092, [::1]:9093"),
        ("TIDEMARK_KINESIS_ENDPOINT", "http://127.0.0.1:4566"),
    ],
)
def test_an_address_is_kept_as_it_was_given(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), name.removeprefix("TIDEMARK_").lower()) == value


def test_a_redis_address_that_cannot_be_read_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_REDIS_URL", "redis://user:ses/ame@cache:6379/0")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "ses" not in str(raised.value)


def test_a_secret_is_neither_shown_nor_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", "sesame-sesame-sesame")
    settings = load_settings()
    assert "sesame" not in repr(settings)
    assert settings.resolve_pseudonym_key() == "sesame-sesame-sesame"


def test_kafka_without_brokers_names_the_setting_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_SOURCE", "kafka")
    with pytest.raises(SettingsError, match=r"^TIDEMARK_KAFKA_BOOTSTRAP: "):
        load_settings()


def test_an_unknown_key_of_an_environment_file_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "test.yaml").write_text("lake_triger_s: 3\n")
    monkeypatch.setattr(module, "PACKAGED", tmp_path)
    with pytest.raises(SettingsError, match=r"^lake_triger_s in conf/test\.yaml: "):
        load_settings()


def test_a_missing_environment_file_is_said_not_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PACKAGED", tmp_path)
    with pytest.raises(SettingsError, match=r"^conf/test\.yaml: "):
        load_settings()


@pytest.mark.parametrize("separator", [",", os.pathsep, " , "])
def test_definitions_may_be_several_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, separator: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEMARK_DEFINITIONS", f"a{separator}b")
    assert load_settings().definition_folders == (tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("file:///data/a%20lake/", "/data/a lake"),
        ("file:/data/lake", "/data/lake"),
        ("/data/lake/", "/data/lake"),
        ("s3://bucket/lake/", "s3://bucket/lake"),
        ("s3a://bucket/lake", "s3a://bucket/lake"),
    ],
)
def test_a_location_has_one_form(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    monkeypatch.setenv("TIDEMARK_LAKE", given)
    assert load_settings().lake_uri == used


def test_the_region_is_read_from_its_usual_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert load_settings().aws_region == "eu-central-1"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().source = "kafka"  # type: ignore[misc]


def test_the_pseudonym_key_is_made_once_also_by_many_at_once(home: Path) -> None:
    settings = load_settings()
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: settings.resolve_pseudonym_key(), range(32)))
    file = home / "pseudonym.key"
    assert keys == {file.read_text()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(home.iterdir()) == [file]


def test_a_remote_lake_wants_a_configured_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_LAKE", "s3://bucket/lake")
    with pytest.raises(SettingsError, match=r"^TIDEMARK_PSEUDONYM_KEY: "):
        load_settings().resolve_pseudonym_key()
    assert not list(home.iterdir())


def test_every_setting_is_read_by_something() -> None:
    """No key that nothing reads: each field is named outside of the settings' own module."""
    root = Path(__file__).resolve().parents[2]
    packages = ("cli", "streaming", "spark_jobs", "serving", "emr", "data", "quality", "intake", "runtime")
    code = "\n".join(file.read_text() for name in packages for file in (root / name).rglob("*.py"))
    through = {"lake": "lake_uri", "checkpoints": "checkpoints_uri", "definitions": "definition_folders",
               "metadata_url": "metadata_uri", "pseudonym_key": "resolve_pseudonym_key", "env": "env"}  # fmt: skip
    unread = [name for name in Settings.model_fields if f".{through.get(name, name)}" not in code]
    assert unread == ["kinesis_endpoint", "kinesis_stream_prefix"], "kinesis comes later; all others must be read"
