"""One benchmark's figures: a table on the terminal and `bench/results/<name>.json`.

Document: name, taken_at, machine, versions, seed, load (what was run, in words), rows (what the table shows), samples
(every single measurement by name, with median and spread) and goals, a list of {what, goal, measured, met}.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime.jars import java_binary

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "pyspark",
    "delta-spark",
    "deltalake",
    "duckdb",
    "pyarrow",
    "fastapi",
    "granian",
    "redis",
    "confluent-kafka",
)


@dataclass(frozen=True, slots=True)
class Goal:
    """`measured` beside `goal`, both in the unit that `what` names. `met` is None when it could not be measured."""

    what: str
    goal: str
    measured: float | None
    met: bool | None


@dataclass
class Report:
    """Fill, then `finish`."""

    name: str
    load: str
    seed: int = 1
    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def sample(self, name: str, values: Sequence[float], digits: int = 0) -> float:
        """Keep repeated measurements; their median."""
        median = round(statistics.median(values), digits)
        self.samples[name] = {
            "median": median,
            "low": round(min(values), digits),
            "high": round(max(values), digits),
            "runs": [round(value, digits) for value in values],
        }
        return median

    def at_least(self, what: str, goal: float, measured: float | None) -> None:
        """A goal to reach or exceed."""
        self.goals.append(Goal(what, f">= {goal:g}", measured, None if measured is None else measured >= goal))

    def at_most(self, what: str, goal: float, measured: float | None) -> None:
        """A goal not to exceed."""
        self.goals.append(Goal(what, f"<= {goal:g}", measured, None if measured is None else measured <= goal))

    def finish(self) -> None:
        """Print the tables, write the document."""
        console = Console(width=None if Console().is_terminal else 140)
        if self.rows:
            console.print(_table(f"{self.name}: {self.load}", self.rows))
        if self.goals:
            console.print(_table("goals", [asdict(goal) for goal in self.goals]))
        for note in self.notes:
            console.print(note)
        RESULTS.mkdir(exist_ok=True)
        document = {
            "name": self.name,
            "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(),
            "seed": self.seed,
            "load": self.load,
            "rows": self.rows,
            "samples": self.samples,
            "goals": [asdict(goal) for goal in self.goals],
            "notes": self.notes,
        }
        file = RESULTS / f"{self.name}.json"
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        console.print(f"written to bench/results/{file.name}")


def machine() -> dict[str, Any]:
    """What the figures were taken on; `load_before` shows whether it was quiet."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_1_min": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Python, Java and the libraries that decide."""
    java = subprocess.run([java_binary(), "-version"], capture_output=True, text=True).stderr.splitlines()
    found = {"python": platform.python_version(), "java": java[0] if java else "?"}
    return found | {package: importlib.metadata.version(package) for package in _PACKAGES}


def _cpu_model() -> str:
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="ascii", errors="replace") if file.exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if isinstance(rows[0].get(name), str) else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, int | float) else str(value)
