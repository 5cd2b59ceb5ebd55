"""Everything but a backup and the source is destroyed, and the answers come back exact.

The backup is taken while stream and batch run, and production goes on after it: what the backup does not hold must come
from the source. RTO = from the first command of the recovery to exact answers; it is printed and in the test's report.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.faults.rig import Rig, wait_for
from tidemark.windows import iso

pytestmark = [pytest.mark.spark, pytest.mark.fault, pytest.mark.long]
T0 = 1_767_225_600
HOUR = 3600


def test_everything_but_the_backup_is_destroyed(
    rig: Rig, tmp_path: Path, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with rig.produce(10, 2 * HOUR, 11, "--duplicates", "0.02", "--invalid", "0.02", start=T0) as producer:
        assert producer.wait() == 0
    kept = tmp_path / "kept"
    with rig.stream() as stream:
        wait_for(lambda: rig.status()["lag_seconds"] == 0, 120, stream.text)
        with rig.command("batch", "--through", iso(T0 + HOUR), "--json") as batch:
            taken = [_backup(rig, kept)]  # all along the batch
            while batch.is_alive:
                taken.append(_backup(rig, kept))
            assert batch.wait() == 0, batch.text()[-4000:]
        with rig.produce(10, HOUR // 2, 12, start=T0 + 2 * HOUR) as producer:
            assert producer.wait() == 0
    before = rig.folder / "before"
    for number, backup in enumerate((_unpublished(taken), taken[-1])):
        _destroy(rig, before / str(number))
        began = time.monotonic()
        with rig.command("restore", str(backup["backup"]), "--json") as restore:
            assert restore.wait() == 0, restore.text()[-4000:]
        restored = time.monotonic() - began
        rig.drain()
        rig.assert_exact()
        recovered = time.monotonic() - began
        rig.batch(T0 + 2 * HOUR)
        rig.assert_exact()
        counts = rig.assert_conserved()
        assert rig.assert_bronze_exact() == counts["received"], "what the backup held was read a second time"
        figures = {
            "backup_seconds": backup["seconds"],
            "backup_bytes": backup["bytes"],
            "tables": len(backup["tables"]),
            "restore_seconds": round(restored, 1),
            "rto_seconds": round(recovered, 1),
            "valid": counts["valid"],
        }
        record_property(f"drill_{number}", json.dumps(figures))
        with capsys.disabled():
            print(f"\nbackup drill {number} of {len(taken)} backups: {figures}")


def _unpublished(taken: list[dict[str, Any]]) -> dict[str, Any]:
    """The last backup of which nothing was published yet: it is from the middle of the batch."""
    return [backup for backup in taken if "gold/_publications" not in backup["tables"]][-1]


def _backup(rig: Rig, kept: Path) -> dict[str, Any]:
    with rig.command("backup", str(kept), "--json") as backup:
        assert backup.wait() == 0, backup.text()[-4000:]
    found: dict[str, Any] = json.loads(backup.text())
    return found


def _destroy(rig: Rig, aside: Path) -> None:
    """All of the home but the source, and all of Redis."""
    aside.mkdir(parents=True)
    for each in rig.settings.home.iterdir():
        if each.name != "source":
            shutil.move(each, aside / each.name)
    with redis.Redis.from_url(str(rig.settings.redis_url)) as client:
        client.flushall()
