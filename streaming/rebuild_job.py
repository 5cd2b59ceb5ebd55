"""`rebuild-speed` as a job: brings every lane's views back from its state, or waits while a running stream does it."""

import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import redis

from conf.settings import Settings
from runtime.redis_server import redis_url
from runtime.spark_session import build_session
from runtime.stream_lock import is_locked, locked_contract
from streaming.contract_stream import ContractStream
from streaming.fenced_writer import connect
from streaming.registry_watch import RegistryWatch
from streaming.speed_lane import SpeedLane
from tidemark import keys
from tidemark.errors import Fault, UserError
from tidemark.windows import iso

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUNNING_TIMEOUT_S = 120.0


def run(settings: Settings, contracts: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row per lane: `intact`, `restored` or `none yet`. Fault when a running stream does not restore its own."""
    built: list[bool] = []

    @cache
    def session() -> "SparkSession":
        built.append(True)
        return build_session("tidemark-rebuild", settings)

    registry = RegistryWatch(settings).registry
    unknown = [name for name in contracts if name not in registry.contracts]
    if unknown:
        raise UserError(f"--source-contract: unknown contract {unknown[0]!r}; known: {', '.join(registry.contracts)}")
    client = connect(redis_url(settings))
    try:
        rows = []
        for name in contracts or tuple(registry.contracts):
            rows += _restore(ContractStream(session, settings, client, registry, name), settings, client)
        return rows
    finally:
        client.close()
        if built:
            session().stop()


def _restore(stream: ContractStream, settings: Settings, client: redis.Redis) -> list[dict[str, Any]]:
    lanes = [lane for lane in stream.lanes.values() if isinstance(lane, SpeedLane)]
    if is_locked(settings, stream.name):
        return [_wait_for_running(lane, client) for lane in lanes]
    with locked_contract(settings, stream.name):
        return [_row(lane, lane.restore()) for lane in lanes]


def _wait_for_running(lane: SpeedLane, client: redis.Redis) -> dict[str, Any]:
    """A running stream notices by itself that Redis was emptied, and must not be written beside."""
    deadline = time.monotonic() + RUNNING_TIMEOUT_S
    while lane.has_commits() and not client.exists(keys.progress(lane.contract.name, lane.lane)):
        if time.monotonic() > deadline:
            raise Fault(f"{lane.name}: the running stream did not restore its views within {RUNNING_TIMEOUT_S:.0f} s")
        time.sleep(0.2)
    return _row(lane, "by the running stream")


def _row(lane: SpeedLane, views: str) -> dict[str, Any]:
    edges = [edge for edge in lane.covered_from().values() if edge is not None]
    covered = iso(max(edges)) if edges else None
    return {"contract": lane.contract.name, "lane": lane.lane, "views": views, "covered_from": covered}
