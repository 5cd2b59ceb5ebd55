"""A deployment of real processes to break: stream, batch and producers as their own processes, one ledger of the truth.

rig.produce(rate=50, seconds=30, seed=1) → a live producer whose ledger joins the truth when it ends
with rig.stream() as driver: driver.kill()
rig.drain(); rig.batch(through); rig.assert_exact(); rig.assert_conserved()
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from conf.settings import Settings, load_settings
from serving.query import Asked
from tests.asking import ask, ask_status
from tests.oracle import METRICS, mismatches, points, read_events
from tidemark.errors import Fault
from tidemark.keys import LakeTables
from tidemark.windows import WINDOWS, ceil_to, floor_to, iso

TIDEMARK = Path(sys.executable).with_name("tidemark")
SIGKILLED = -signal.SIGKILL
Event = dict[str, Any]


class Driver(AbstractContextManager["Driver"]):
    """One process of ours; what it printed is in `log`. Leaving the context kills what still runs."""

    def __init__(self, arguments: list[str], log: Path, environment: Mapping[str, str], cwd: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **environment},
                cwd=cwd,
                start_new_session=True,  # a kill takes the JVM along, and only what this test started
            )

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = 180) -> int:
        """Exit code; negative: by that signal. What is left of its process group goes too."""
        code = self.process.wait(seconds)
        self._signal_group(signal.SIGKILL)
        return code

    def kill(self) -> None:
        """kill -9 of the driver and its JVM."""
        self._signal_group(signal.SIGKILL)
        self.process.wait(30)

    def pause(self) -> None:
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_group(signal.SIGCONT)

    def stop(self, seconds: float = 90) -> int:
        """SIGTERM, as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return


class Rig:
    """One contract on the test's own home. `metric`: the one whose answers are compared, by all of its dimensions."""

    def __init__(
        self, settings: Settings, folder: Path, contract: str = "access", metric: str = "device_access"
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.contract = contract
        self.metric = metric
        self.ledgers: list[Path] = []
        self.environment: dict[str, str] = {}
        self.prefix: list[str] = []  # a command that runs ours, with less rights for instance
        self._started = 0

    # --- processes

    def command(self, *arguments: str, places: Iterable[str] = (), extra: Mapping[str, str] | None = None) -> Driver:
        """`tidemark ARGUMENTS` as a process of its own, to die at one of `places` (see driver.py) if any."""
        self._started += 1
        log = self.folder / f"{self._started:03d}-{arguments[0]}.log"
        armed = [sys.executable, "-m", "tests.faults.driver", *places, "--", *arguments]
        command = armed if places else [str(TIDEMARK), *arguments]
        return Driver([*self.prefix, *command], log, {**self.environment, **(extra or {})}, Path(__file__).parents[2])

    def stream(self, *options: str, places: Iterable[str] = (), extra: Mapping[str, str] | None = None) -> Driver:
        return self.command("stream", "--source-contract", self.contract, *options, places=places, extra=extra)

    def drain(self, seconds: float = 240) -> None:
        """`stream --once`, to its end."""
        with self.stream("--once") as driver:
            assert driver.wait(seconds) == 0, driver.text()[-4000:]

    def batch(self, through: int, *options: str, code: int = 0, places: Iterable[str] = ()) -> dict[str, Any]:
        """`batch --through --json`; its document when it printed one."""
        with self.command("batch", "--through", iso(through), "--json", *options, places=places) as driver:
            assert driver.wait(300) == code, driver.text()[-4000:]
            return printed_document(driver.text())

    def produce(
        self, rate: float, seconds: float, seed: int, *options: str, start: int | None = None, keys: int = 20
    ) -> Driver:
        """`simulate` to the source with a ledger that joins the truth: live and at pace, or at once from `start`."""
        ledger = self.folder / f"ledger-{len(self.ledgers):03d}-{seed}.ndjson"
        self.ledgers.append(ledger)
        given = ["--rate", str(rate), "--seconds", str(seconds), "--seed", str(seed), "--keys", str(keys)]
        given += ["--ledger", str(ledger), "--json", *options]
        given += [] if start is None else ["--start", iso(start)]
        return self.command("simulate", self.contract, *given)

    # --- the truth, and what is compared with it

    def events(self) -> list[Event]:
        """The distinct valid events of all ledgers so far."""
        return [event for ledger in self.ledgers for event in read_events(ledger)]

    def span(self, events: list[Event]) -> tuple[int, int]:
        """The hours around the events' times."""
        times = [datetime.fromisoformat(event["timestamp"]).timestamp() for event in events]
        return floor_to(int(min(times)), 3600), ceil_to(int(max(times)) + 1, 3600)

    def answer(self, window: str, start: int, end: int, **options: Any) -> dict[str, Any]:
        """The answer of the serving layer, by every dimension of the metric. Raises what the API would say."""
        dims = METRICS[self.metric].dims
        asked = Asked(self.metric, window, iso(start), iso(end), (), dims, None, None, options.get("strict", False))
        return ask(self._settings(), asked)

    def differences(self, window: str = "10m") -> list[str]:
        """What an answer over everything lacks or has wrong; a line more when it does not call itself complete."""
        events = self.events()
        start, end = self.span(events)
        found = self.answer(window, start, end)
        expected = points(self.metric, events, WINDOWS[window], METRICS[self.metric].dims, {})
        gaps = [] if found["complete"] else [f"not complete: {found['missing']}"]
        return mismatches(found["points"], expected, METRICS[self.metric].dims) + gaps

    def wrong_values(self, window: str = "10m") -> list[str]:
        """During a fault: points of an answer that calls itself complete and yet differs from the truth.

        Only meaningful while nothing is being produced. An answer may be incomplete and say so; never wrong.
        """
        events = self.events()
        start, end = self.span(events)
        try:
            found = self.answer(window, start, end)
        except Fault:
            return []
        return self.differences(window) if found["complete"] else []

    def assert_exact(self, windows: Iterable[str] = ("10m", "30m")) -> None:
        """(R): the merged answer equals a recompute from the ledgers, and says that it is complete."""
        for window in windows:
            found = self.differences(window)
            assert found == [], f"{window}: {len(found)} differences, first {found[:5]}"

    def wait_exact(self, seconds: float = 120) -> float:
        """Wait until a running stream has caught up; seconds that it took."""
        began = time.monotonic()
        wait_for(lambda: self.differences() == [], seconds, lambda: str(self.differences()[:5]))
        self.assert_exact()
        return time.monotonic() - began

    def status(self) -> dict[str, Any]:
        """`status --json` of the contract."""
        document = ask_status(self._settings())
        found: dict[str, Any] = document["contracts"][self.contract]
        return found

    def assert_conserved(self) -> dict[str, Any]:
        """(C): received = valid + quarantined + duplicates, and valid = the distinct events produced."""
        counts = self.status()
        assert counts["valid"] == len(self.events()), counts
        assert counts["received"] == counts["valid"] + counts["quarantined"] + counts["duplicates"], counts
        return counts

    def assert_bronze_exact(self) -> int:
        """Every source position is in bronze exactly once; rows that it holds."""
        tables = LakeTables(self.settings.lake_uri)
        names = (tables.bronze_events(self.contract), tables.bronze_quarantine(self.contract))
        kept = [DeltaTable(name).to_pyarrow_dataset() for name in names if DeltaTable.is_deltatable(name)]
        rows = distinct = 0
        with duckdb.connect() as connection:
            for number, dataset in enumerate(kept):
                connection.register(f"t{number}", dataset)
            position = "source, source_partition, source_offset"
            union = " UNION ALL ".join(f"SELECT {position} FROM t{number}" for number in range(len(kept)))
            if union:
                counted = connection.execute(f"SELECT count(*), count(DISTINCT ({position})) FROM ({union})").fetchone()
                assert counted is not None
                rows, distinct = counted
        assert rows == distinct, f"{rows} rows of {distinct} source positions"
        return int(rows)

    def _settings(self) -> Settings:
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            return load_settings()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value


def printed_document(text: str) -> dict[str, Any]:
    """The last JSON document that a command printed among its logs; empty when it printed none."""
    start = f"\n{text}".rfind("\n{\n")
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text[start:])[0] if start >= 0 else {}
    return found


def wait_for(reached: Callable[[], bool], seconds: float = 120, why: Callable[[], str] = str) -> None:
    """Poll until it holds; `why` is asked once, when the time is over."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {why()}"
        time.sleep(0.2)
