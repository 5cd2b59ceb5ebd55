"""Keeps the queries of all contracts running until there is nothing left to do, or until it is told to stop."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

import redis
import structlog

from conf.settings import Settings
from runtime.stream_lock import locked_contract
from streaming.contract_stream import ContractStream
from streaming.fenced_writer import ViewsLost
from streaming.heartbeat import Heartbeat
from streaming.query_lane import Session
from streaming.rebuild import forget_pointers
from streaming.registry_watch import RegistryWatch
from streaming.server_watch import ServerWatch
from streaming.speed_lane import SpeedLane
from tidemark.errors import SourceUnavailable, UserError, ViewsUnavailable

LOG = structlog.get_logger()
TICK_S = 0.5
WATCH_EVERY_S = 2.0
CLEAN_EVERY_S = 60.0
Show = Callable[[list[dict[str, Any]]], None]


class Supervisor:
    """One per process. `contracts`: which to run; empty = all that are defined, also those defined later."""

    def __init__(self, session: Session, settings: Settings, client: redis.Redis, contracts: Sequence[str]) -> None:
        self._session = session
        self._settings = settings
        self._client = client
        self._asked = tuple(dict.fromkeys(contracts))
        self._watch = RegistryWatch(settings)
        self._server = ServerWatch(client)
        self._locks = ExitStack()
        self._streams: dict[str, ContractStream] = {}
        self._started: set[str] = set()
        unknown = [name for name in self._asked if name not in self._watch.registry.contracts]
        if unknown:
            known = ", ".join(self._watch.registry.contracts)
            raise UserError(f"--source-contract: unknown contract {unknown[0]!r}; known: {known}")

    def run(self, *, once: bool, stop: threading.Event, show: Show | None = None) -> list[dict[str, Any]]:
        """Run to the end; a summary per contract. Raises what a query could not recover from."""
        with self._locks, self._add_streams(), Heartbeat(self._client, self._lanes):
            try:
                self._run_once(stop, show) if once else self._run_on(stop, show)
            finally:
                self._end()
        return self.summary()

    def summary(self) -> list[dict[str, Any]]:
        """Per contract: cumulative counts of the lake writer."""
        rows = []
        for name, stream in self._streams.items():
            note = stream.lake.last_note()
            counts = note.records if note else {}
            names = ("received", "valid", "quarantined")
            rows.append({"contract": name, **{key: counts.get(key, 0) for key in names}})
        return rows

    def _run_once(self, stop: threading.Event, show: Show | None) -> None:
        for name, stream in self._streams.items():
            if stream.needs_session() and not stop.is_set():
                self._started.add(name)
                stream.start(once=True)
        running = True
        while running and not stop.is_set():
            ended = not self._is_running()
            self._look_after(once=True)
            # A query that failed after it was looked at waits to be started again: ended only if it still is.
            running = not ended or self._is_running()
            self._show(show)
            stop.wait(TICK_S / 5 if running else 0)
        for stream in self._streams.values():
            stream.clean_source()

    def _is_running(self) -> bool:
        return any(stream.is_running() for stream in self._streams.values())

    def _run_on(self, stop: threading.Event, show: Show | None) -> None:
        watch, clean = _Every(WATCH_EVERY_S), _Every(CLEAN_EVERY_S)
        while not stop.is_set():
            self._start_what_has_data()
            self._look_after(once=False)
            if watch.due():
                self._apply_changes()
                self._check_views()
            if clean.due():
                for stream in self._streams.values():
                    stream.clean_source()
            self._show(show)
            stop.wait(TICK_S)

    def _start_what_has_data(self) -> None:
        for name, stream in self._streams.items():
            if name not in self._started and _has_data(stream):
                self._started.add(name)
                LOG.info("first events, starting", contract=name)
                stream.start(once=False)

    def _look_after(self, *, once: bool) -> None:
        for name in self._started:
            self._streams[name].look_after(once=once)

    def _apply_changes(self) -> None:
        registry = self._watch.changed()
        if registry is None:
            return
        for name, stream in self._streams.items():
            if name in registry.contracts:
                stream.apply(registry)
        self._add_streams()

    def _check_views(self) -> None:
        """A Redis that was emptied while nothing arrives would be found out only with the next event; that it went back
        behind a publication, never."""
        with suppress(ViewsUnavailable):
            self._server.look(self._forget_pointers)
        for stream in self._streams.values():
            for lane in stream.lanes.values():
                if isinstance(lane, SpeedLane) and lane.is_active:
                    try:
                        held = lane.holds_views()
                    except ViewsUnavailable:
                        continue
                    if not held:
                        lane.stop()
                        lane.failure = ViewsLost(f"{lane.name}: Redis has lost the views")

    def _forget_pointers(self) -> None:
        LOG.warning("another Redis answers; its pointers to publications may be old, readers ask the lake")
        forget_pointers(self._client)

    def _add_streams(self) -> AbstractContextManager[Any]:
        """Take the lock of each contract that is not run yet, and build its queries."""
        registry = self._watch.registry
        for name in self._asked or tuple(registry.contracts):
            if name in registry.contracts and name not in self._streams:
                self._locks.enter_context(locked_contract(self._settings, name))
                self._streams[name] = ContractStream(self._session, self._settings, self._client, registry, name)
        return self._locks

    def _lanes(self) -> Iterator[tuple[str, str]]:
        return iter([(name, lane) for name, stream in list(self._streams.items()) for lane in list(stream.lanes)])

    def _end(self) -> None:
        for stream in self._streams.values():
            stream.stop()

    def _show(self, show: Show | None) -> None:
        if show is not None:
            show(self.summary())


def _has_data(stream: ContractStream) -> bool:
    """A broker that is away is asked again; the contracts that run must not end for those that wait."""
    try:
        return stream.source.has_data()
    except SourceUnavailable as error:
        LOG.warning("the source does not answer", contract=stream.name, error=str(error))
        return False


class _Every:
    """Says when a period is over."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next_s = time.monotonic() + period_s

    def due(self) -> bool:
        if time.monotonic() < self._next_s:
            return False
        self._next_s = time.monotonic() + self._period_s
        return True
