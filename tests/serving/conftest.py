from collections.abc import Iterator

import pytest

from conf.settings import Settings
from tests.serving.stage import Stage


@pytest.fixture
def stage(settings: Settings, redis_url: str) -> Iterator[Stage]:
    stage = Stage(settings, redis_url)
    with stage.closing:
        yield stage
