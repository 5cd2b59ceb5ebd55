"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

PLAIN_EVERY_S = 5.0
LATEST_WINDOWS = 6


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the running system. Counts are records, ages are seconds; None = not known yet."""

    received: int | None = None
    quarantined: int | None = None
    lag_records: int | None = None
    freshness_s: float | None = None
    watermark: str | None = None
    sealed_through: str | None = None
    points: list[dict[str, Any]] = field(default_factory=list)

    def line(self) -> str:
        """All of it in one line."""
        layers = ", ".join(
            f"{_clock(point['start'])} {_values(point)} [{point['layer']}]" for point in self.points[-3:]
        )
        parts = (
            f"events in {_count(self.received)} ({_count(self.quarantined)} quarantined)",
            f"lag {_count(self.lag_records)}",
            f"freshness {_age(self.freshness_s)}",
            f"sealed through {self.sealed_through or 'nothing yet'}",
            f"latest windows: {layers or 'none yet'}",
        )
        return "; ".join(parts)

    def table(self, phase: str, elapsed_s: float) -> Group:
        """The same for a terminal."""
        facts = Table(show_header=False, box=None)
        facts.add_row("events in", f"{_count(self.received)}  ({_count(self.quarantined)} quarantined)")
        facts.add_row("lag", f"{_count(self.lag_records)} records not yet in the speed views")
        facts.add_row("freshness", _age(self.freshness_s))
        facts.add_row("watermark", self.watermark or "-")
        facts.add_row("sealed through", Text(self.sealed_through or "nothing yet", style="bold"))
        windows = Table("window", "values, all devices", "layer", "state", title="device_access, 10 minutes")
        for point in self.points[-LATEST_WINDOWS:]:
            style = "cyan" if point["layer"] == "batch" else "green"
            windows.add_row(_clock(point["start"]), _values(point), Text(point["layer"], style=style), point["state"])
        return Group(Text(f"{elapsed_s:4.0f} s  {phase}", style="bold"), facts, windows)


class Screen:
    """Where the demo talks to its reader."""

    def __init__(self, live: Live | None) -> None:
        self._live = live
        self._phase = ""
        self._began_s = time.monotonic()
        self._plain_at_s = 0.0

    def phase(self, text: str) -> None:
        """What happens now."""
        self._phase = text
        self._plain_at_s = 0.0
        if self._live is None:
            self.say(f"[{time.monotonic() - self._began_s:4.0f} s] {text}")

    def show(self, reading: Reading) -> None:
        """Bring the table up to date; elsewhere than on a terminal a line, not too often."""
        now_s = time.monotonic()
        if self._live is not None:
            self._live.update(reading.table(self._phase, now_s - self._began_s))
        elif now_s >= self._plain_at_s:
            self._plain_at_s = now_s + PLAIN_EVERY_S
            self.say(f"[{now_s - self._began_s:4.0f} s]   {reading.line()}")

    def say(self, text: str) -> None:
        """Text that stays."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)


@contextmanager
def open_screen() -> Iterator[Screen]:
    """A live table when stdout is a terminal."""
    if not sys.stdout.isatty():
        yield Screen(None)
        return
    with Live(console=Console(), refresh_per_second=4, transient=False) as live:
        yield Screen(live)


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _clock(instant: str) -> str:
    return instant[11:16]


def _values(point: dict[str, Any]) -> str:
    shown = (
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in point["values"].items()
    )
    return ", ".join(shown)
