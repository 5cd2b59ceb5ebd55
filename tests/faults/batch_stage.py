"""A home with a night's work before it: one hour sealed, two more to seal, late events and conflicts among them.

Built once a run and put back before each fault; with it, what the same batch makes of it when nothing breaks.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import redis
import yaml
from deltalake import DeltaTable

from conf.settings import PACKAGED, Settings
from tests.faults.kept_home import KeptHome
from tests.faults.readers import Question, ask_all
from tests.faults.rig import SIGKILLED, Driver, Rig
from tidemark.windows import Span, iso

T0 = 1_767_571_200
"""2026-01-05T00:00:00Z."""
HOUR = 3_600
SEALED, THROUGH = T0 + HOUR, T0 + 3 * HOUR
ASKED = Span(T0 - 2 * 86_400, T0 + 5 * HOUR)
"""All that was produced, the latest of the late included."""
CONFLICTS = 5
QUESTIONS: tuple[Question, ...] = (
    ("device_access", "10m", ASKED),
    ("device_access", "30m", ASKED),
    ("device_peak", "10m", ASKED),
)
PEAK = {
    "name": "device_peak",
    "description": "Largest access count per device; also kept as JSON in Redis for apps",
    "sql": "SELECT device_id, MAX(access_count) AS peak FROM access GROUP BY device_id",
    "windows": ["10m", "30m"],
    "schedule": "0 2 * * *",
    "retention": {"hot": "24h", "warm": "30d", "cold": "2y"},
    "category": "engagement",
    "publish": {"latest": "peak:{device_id}:latest", "window": "peak:{device_id}:{window_start}"},
}


class BatchStage:
    """`before`, `after`: every question's answer before and after the batch that nothing broke."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        home = folder / "home"
        home.mkdir()
        self._url = redis_url
        settings = Settings(env="test", home=home, redis_url=redis_url, definitions=str(define(folder)))
        self.rig = Rig(settings, folder)
        self.rig.environment = {
            "TIDEMARK_ENV": "test",
            "TIDEMARK_HOME": str(home),
            "TIDEMARK_REDIS_URL": redis_url,
            "TIDEMARK_DEFINITIONS": settings.definitions or "",
        }
        self.settings = settings
        self._build()
        self._kept = KeptHome(home, folder / "kept", redis_url)
        self.before = self.answers()
        self.report = self.rig.batch(THROUGH)
        self.after = self.answers()
        self.tables_after = self.tables()
        self.values_after = self.published_values()

    def _build(self) -> None:
        rig = self.rig
        self.produce(0.5, 2 * HOUR, 1, "--duplicates", "0.02", "--invalid", "0.02", start=T0)
        rig.drain()
        rig.batch(SEALED)
        self.produce(0.5, 2 * HOUR, 2, "--late", "0.05", "--duplicates", "0.02", start=T0 + 2 * HOUR)
        self.ingest(conflicting(rig))
        rig.drain()

    def produce(self, rate: float, seconds: float, seed: int, *options: str, start: int) -> None:
        with self.rig.produce(rate, seconds, seed, *options, start=start) as producer:
            assert producer.wait() == 0, producer.text()

    def ingest(self, file: Path) -> None:
        with self.rig.command("ingest", self.rig.contract, str(file)) as command:
            assert command.wait() == 0, command.text()

    def put_back(self) -> None:
        """As it was before the batch."""
        self._kept.put_back()

    def answers(self) -> list[str]:
        return ask_all(self.settings, QUESTIONS)

    def tables(self) -> dict[str, list[str]]:
        """Rows of the tables that the batch writes, without what belongs to the run: commit times and batch ids."""
        lake = Path(self.settings.lake_uri)
        return {name: rows_of(lake / name) for name in ("silver/access", "gold/device_access", "gold/device_peak")} | {
            "gold/_publications": rows_of(lake / "gold/_publications", ("metric", "version", "sealed_through")),
            "gold/_parity": rows_of(
                lake / "gold/_parity", ("metric", "version", "window", "from", "to", "windows", "mismatched")
            ),
            "gold/_late": rows_of(lake / "gold/_late"),
            "bronze/quarantine/access": rows_of(lake / "bronze/quarantine/access", ("raw", "reasons", "stage")),
        }

    def published_values(self) -> dict[bytes, Any]:
        """The finished values that apps read from Redis by themselves."""
        with redis.Redis.from_url(self._url, decode_responses=False) as client:
            return {key: client.get(key) for key in sorted(client.keys("peak:*"))}

    def killed(self, place: str) -> None:
        """The batch, dead at a place."""
        with self.rig.command("batch", "--through", iso(THROUGH), "--json", places=[place]) as driver:
            assert driver.wait(300) == SIGKILLED, driver.text()[-4000:]

    def script(self, module: str, *arguments: str, places: Iterable[str] = ()) -> Driver:
        """A job run as a plain script, such as `spark_jobs.maintain`."""
        log = self.rig.folder / f"{module}-{os.urandom(3).hex()}.log"
        command = [sys.executable, "-m", "tests.faults.script_driver", *places, "--", module, *arguments]
        return Driver(command, log, self.rig.environment, Path(__file__).parents[2])


def define(folder: Path) -> Path:
    """The access contract with two metrics, of which one also publishes its values as JSON."""
    target = folder / "definitions"
    for kind, name in (("contracts", "access"), ("metrics", "device_access")):
        (target / kind).mkdir(parents=True)
        shutil.copy(PACKAGED / kind / f"{name}.yaml", target / kind)
    (target / "metrics/device_peak.yaml").write_text(yaml.safe_dump(PEAK))
    return target


def conflicting(rig: Rig) -> Path:
    """A file of events that came already, with the same ids and another payload: the first arrival must win."""
    events = rig.events()[-CONFLICTS:]
    file = rig.folder / "conflicts.ndjson"
    file.write_text("".join(json.dumps({**each, "access_count": each["access_count"] + 1}) + "\n" for each in events))
    return file


def rows_of(table: Path, columns: Sequence[str] | None = None) -> list[str]:
    """Every row as text, sorted; ingest times and source positions are of the home and the same after each restore."""
    rows = DeltaTable(str(table)).to_pyarrow_table(columns=list(columns) if columns else None)
    return sorted(repr(sorted(row.items())) for row in rows.to_pylist())
