"""Every test here breaks a deployment of its own. `long` ones run in `make test-faults` only."""

from pathlib import Path

import pytest

from conf.settings import Settings
from tests.faults.rig import Rig


@pytest.fixture
def rig(settings: Settings, tmp_path: Path) -> Rig:
    """The access contract on an empty home, the shared Redis emptied."""
    return Rig(settings, tmp_path)
