"""A written lake in the home of the test, and homes elsewhere to restore it to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conf.settings import Settings, load_settings
from tests.spark_jobs.backups.written_lake import WrittenLake


@pytest.fixture
def lake(settings: Settings) -> WrittenLake:
    written = WrittenLake(settings.lake_uri)
    for _ in range(3):
        written.stream()
        written.stream()
        written.batch()
    written.stream()
    return written


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: WrittenLake) -> Callable[[str], Settings]:
    """Settings of another, empty home."""

    def settings_of(name: str) -> Settings:
        monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path / name))
        return load_settings()

    return settings_of
