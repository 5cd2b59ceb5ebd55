"""A damaged checkpoint: either everything is exact after all, or a clear stop that names the file and the way out."""

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from cli.main import main
from conf.settings import load_settings
from tests.faults.damaged_home import FILES, HOW, DamagedHome
from tidemark.errors import CheckpointDamaged

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.fault, pytest.mark.long]
SEED = int(os.environ.get("FAULT_SEED", "1"))
STATE = ("exact/sums", "exact/dedupe")


def _built(
    spark: "SparkSession", redis_url: str, factory: pytest.TempPathFactory, snapshots: bool
) -> Iterator[DamagedHome]:
    with pytest.MonkeyPatch.context() as patch:
        folder = factory.mktemp("damaged")
        patch.setenv("TIDEMARK_ENV", "test")
        patch.setenv("TIDEMARK_HOME", str(folder / "home"))
        patch.setenv("TIDEMARK_REDIS_URL", redis_url)
        built = DamagedHome(spark, load_settings(), folder, snapshots)
    yield built
    built.close()


@pytest.fixture(scope="module")
def changelogs(
    spark: "SparkSession", _redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DamagedHome]:
    yield from _built(spark, _redis_server, tmp_path_factory, snapshots=False)


@pytest.fixture(scope="module")
def snapshots(
    spark: "SparkSession", _redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DamagedHome]:
    yield from _built(spark, _redis_server, tmp_path_factory, snapshots=True)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", FILES)
def test_any_damaged_file_is_recovered_from_or_named(
    changelogs: DamagedHome, kind: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recover(changelogs, kind, how, monkeypatch)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", STATE)
def test_a_damaged_snapshot_is_recovered_from_or_named(
    snapshots: DamagedHome, kind: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recover(snapshots, kind, how, monkeypatch) == ".zip"


def recover(home: DamagedHome, kind: str, how: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Damage, drain; when that stops, follow what it says, and drain again. The suffix of the damaged file."""
    settings = home.deployment.settings
    monkeypatch.setenv("TIDEMARK_HOME", str(settings.home))
    monkeypatch.setenv("TIDEMARK_REDIS_URL", str(settings.redis_url))
    home.restore()
    file = home.damage(kind, how, SEED)
    stop = drained(home)
    print(f"{kind} {how}: {stop or 'recovered'}")
    if stop is not None:
        assert "\n" not in str(stop)
        named = file.relative_to(home.checkpoints / kind.split("/")[0])
        if how == "deleted" and named.suffix == ".zip":
            named = named.with_suffix(".changelog")  # of the same version: what Spark looks for without the snapshot
        assert str(named) in str(stop)
        assert home.rig.wrong_values() == []
        assert main(shlex.split(str(stop).rsplit(": tidemark ", 1)[1])) == 0
        assert home.rig.wrong_values() == []
        home.deployment.drain()
    home.assert_all_exact()
    return file.suffix


def drained(home: DamagedHome) -> CheckpointDamaged | None:
    """What stopped the stream; any other error is one too many."""
    try:
        home.deployment.drain()
    except CheckpointDamaged as stop:
        return stop
    return None
