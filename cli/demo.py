"""`tidemark demo`: the whole pipeline on embedded defaults, from the first event to an answer of both layers.

Two hours of simulated accesses up to now are put into the source, then live ones follow; the speed layer drains them
into the lake and Redis; one gated batch seals all but the last windows; the API answers across the line between them.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import redis
import typer

from cli.demo_processes import Children, free_port
from cli.demo_screen import Reading, Screen, open_screen
from cli.ingest import find_contract
from conf.settings import Settings, load_settings
from data.emit import SourceTarget, at_once, emit
from data.faults import Faults
from data.stream import sent_records
from data.traffic import Traffic
from intake.source import open_source
from runtime.redis_server import redis_url, stop_embedded
from tidemark import keys
from tidemark.errors import Fault
from tidemark.progress import Progress
from tidemark.windows import ceil_to, floor_to, iso

CONTRACT, METRIC, WINDOW, WINDOW_S = "access", "device_access", "10m", 600
SEAL_S = 1800
"""sealed_through falls on these edges: the longest window of the metric."""
HISTORY_S, SETTLE_S = 7200, 720
"""How much history is simulated, and how far behind now a window must have ended to be sealed by the demo."""
HISTORY_RATE, LIVE_RATE, DEVICES = 10, 20, 25
FAULTS = Faults(late=0.0, duplicates=0.01, invalid=0.005, anomalies=0.0)
START_TIMEOUT_S, ANSWER_TIMEOUT_S = 300.0, 180.0
LOOK_EVERY_S = 0.5


def command(
    seconds: Annotated[
        float | None,
        typer.Option(min=1, envvar="DEMO_SECONDS", help="Stop after so long, but not before the answer was shown."),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the API; the next free one when taken.")] = 8000,
) -> None:
    """Simulator, source, speed layer, Redis, lake, one gated batch and the API, until Ctrl-C."""
    ends_at = None if seconds is None else time.monotonic() + seconds
    settings = load_settings()
    children = Children(settings.home / "logs", _environment())
    with _ended_by_signals(), suppress(KeyboardInterrupt):
        try:
            with open_screen() as screen:
                Demo(settings, children, screen, free_port(port)).run(ends_at)
        finally:
            _stop(settings, children)


class Demo:
    """One run. `children` are ended by the caller, whatever happens here."""

    def __init__(self, settings: Settings, children: Children, screen: Screen, port: int) -> None:
        self._children = children
        self._screen = screen
        self._url = f"http://127.0.0.1:{port}"
        self._port = port
        self._client = redis.Redis.from_url(redis_url(settings))
        self._contract = find_contract(settings, CONTRACT)
        self._source = open_source(settings, self._contract)
        now = time.time()
        self._sealed = floor_to(now - SETTLE_S, SEAL_S)
        self._from = self._sealed - 3 * WINDOW_S
        self._history_sent_at = now

    def run(self, ends_at: float | None) -> None:
        """Every step up to the answer, then on until `ends_at` (monotonic) or for ever."""
        self._screen.phase("starting the speed layer and the API")
        self._children.start("stream", "stream", "--source-contract", CONTRACT)
        self._children.start("api", "serve", "--port", str(self._port))
        records = self._send_history()
        self._screen.phase(f"{records:,} simulated events are in the source; live ones follow, {LIVE_RATE} a second")
        self._children.start("simulator", *_live_traffic())
        self._watch(self._drained, START_TIMEOUT_S, "the speed layer did not take the first events")
        self._screen.phase(f"batch: sealing everything before {iso(self._sealed)} behind its gates")
        self._children.start("batch", "batch", "--through", iso(self._sealed))
        self._watch(lambda: self._children.ended("batch"), None, "")
        self._screen.phase("the batch has passed its gates and moved sealed_through")
        self._watch(self._answers_from_both, ANSWER_TIMEOUT_S, "the API gave no complete answer of both layers")
        self._show_answer()
        self._screen.phase("running; " + ("Ctrl-C ends it" if ends_at is None else "ends by itself"))
        while ends_at is None or time.monotonic() < ends_at:
            self._look()

    def _watch(self, reached: Any, timeout_s: float | None, complaint: str) -> None:
        """Show what happens until `reached()`. Raises Fault when that takes too long or a child ends."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not reached():
            if deadline is not None and time.monotonic() > deadline:
                raise Fault(f"{complaint} within {timeout_s:.0f} s")
            self._look()

    def _look(self) -> None:
        self._children.check()
        self._screen.show(self._read())
        time.sleep(LOOK_EVERY_S)

    def _send_history(self) -> int:
        """Events up to now. A second run on the same home goes on where the first one ended: no event is late."""
        now = time.time()
        before = self._progress(keys.LANES[0])
        start = max(now - HISTORY_S, (before.max_event_time or 0.0) + 1 if before else 0.0)
        seconds = max(1.0, now - start)
        traffic = Traffic(CONTRACT, HISTORY_RATE, seconds, 1, round(start * 1000), DEVICES, FAULTS)
        batches = at_once(sent_records(traffic, self._contract))
        records = max(sums.records for sums in emit(batches, SourceTarget(self._source), None))
        self._history_sent_at = time.time()
        return records

    def _drained(self) -> bool:
        """Whether both queries hold the history: what they have still to take came after it."""
        lanes = [self._progress(lane) for lane in (keys.LANES[0], keys.LAKE_LANE)]
        if None in lanes:
            return False
        oldest = [self._source.backlog(lane.position).oldest_received_at for lane in lanes if lane is not None]
        return all(at is None or at.timestamp() > self._history_sent_at for at in oldest)

    def _read(self) -> Reading:
        speed, lake = self._progress(keys.LANES[0]), self._progress(keys.LAKE_LANE)
        answer = self._ask({}) or {}
        return Reading(
            received=lake.records.get("received") if lake else None,
            quarantined=lake.records.get("quarantined") if lake else None,
            lag_records=self._source.backlog(speed.position).records if speed else None,
            freshness_s=answer.get("freshness_seconds"),
            watermark=answer.get("watermark"),
            sealed_through=answer.get("sealed_through"),
            points=answer.get("points", []),
        )

    def _progress(self, lane: str) -> Progress | None:
        text = self._client.get(keys.progress(CONTRACT, lane))
        return Progress.from_json(str(text, "utf-8")) if isinstance(text, bytes) else None

    def _answers_from_both(self) -> bool:
        answer = self._ask({}) or {}
        return bool(answer.get("complete")) and len({point["layer"] for point in answer["points"]}) == 2

    def _query(self, more: dict[str, str]) -> str:
        until = ceil_to(time.time(), WINDOW_S)
        asked = {"window": WINDOW, "from": iso(self._from), "to": iso(until), **more}
        return f"{self._url}/v1/metrics/{METRIC}?{urlencode(asked, safe=':')}"

    def _ask(self, more: dict[str, str]) -> dict[str, Any] | None:
        """The API's answer; None while it does not listen yet."""
        try:
            with urlopen(self._query(more), timeout=10) as reply:
                answer: dict[str, Any] = json.load(reply)
                return answer
        except (URLError, OSError):
            return None

    def _show_answer(self) -> None:
        """A command for the reader, and what it really prints."""
        query = self._query({"dim": f"device_id:{self._busiest_device()}"})
        say = self._screen.say
        say(
            f"\nOne answer, two layers: the line is at {iso(self._sealed)}. Try it:\n\n  curl -s {shlex.quote(query)}\n"
        )
        text = _fetch(query)
        say(text + "\n")
        for point in json.loads(text)["points"]:
            values = ", ".join(f"{name} = {value}" for name, value in point["values"].items())
            say(f"  {point['start']}  {point['layer']:5}  {point['state']:6}  {values}")
        say("")

    def _busiest_device(self) -> str:
        answer = self._ask({"group_by": "device_id"}) or {"points": []}
        layers: dict[str, list[str]] = {}
        for point in answer["points"]:
            layers.setdefault(point["dims"]["device_id"], []).append(point["layer"])
        if not layers:
            raise Fault(f"{METRIC} has no device in its answer")
        return max(layers, key=lambda device: (len(set(layers[device])), len(layers[device]), device))


def _live_traffic() -> tuple[str, ...]:
    shares = ("--duplicates", str(FAULTS.duplicates), "--invalid", str(FAULTS.invalid), "--keys", str(DEVICES))
    return ("simulate", CONTRACT, "--rate", str(LIVE_RATE), "--seconds", "86400", "--seed", "2", *shares)


def _fetch(url: str) -> str:
    if shutil.which("curl"):
        return subprocess.run(["curl", "-s", url], capture_output=True, text=True, check=True).stdout.strip()
    with urlopen(url, timeout=10) as reply:
        return str(reply.read(), "utf-8")


def _environment() -> dict[str, str]:
    """Of the children: two Spark sessions side by side, each with a smaller heap than one alone, and time to start."""
    return {"TIDEMARK_DRIVER_MEMORY": "1g", "TIDEMARK_BARRIER_TIMEOUT_S": "600", **os.environ}


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(settings: Settings, children: Children) -> None:
    """End all that the demo started; another Ctrl-C meanwhile changes nothing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    children.stop()
    stop_embedded(settings)
