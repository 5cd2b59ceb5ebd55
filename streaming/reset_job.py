"""`reset-speed` as a job: a contract's queries begin new checkpoints on the same tables.

Nothing is dropped: the lake writer reads the whole source again and leaves out what bronze holds; the views are filled
again from `sealed_through` on, before which batch owns every window. Nothing is doubled: the new checkpoint's identity
takes over the fence, and windows are absolute. What the source no longer holds is not claimed (`covered_from`).
"""

import time
from collections.abc import Sequence
from typing import Any

import redis

from conf.settings import Settings
from runtime.redis_server import redis_url
from runtime.stream_lock import locked_contract
from streaming.begin_anew import has_checkpoint
from streaming.contract_stream import ContractStream, Lane
from streaming.fenced_writer import answering, connect
from streaming.heartbeat import ALIVE_MS
from streaming.registry_watch import RegistryWatch
from streaming.speed_lane import SpeedLane
from tidemark import keys
from tidemark.errors import Fault, UserError
from tidemark.windows import iso


def run(settings: Settings, contracts: Sequence[str] = (), lanes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Reset these lanes (default: all) of these contracts (default: all); a row per lane. Fault while a stream runs."""
    known = (keys.LAKE_LANE, *keys.LANES)
    if wrong := [lane for lane in lanes if lane not in known]:
        raise UserError(f"--lane: {wrong[0]!r} is none of {', '.join(known)}")
    registry = RegistryWatch(settings).registry
    if unknown := [name for name in contracts if name not in registry.contracts]:
        raise UserError(f"--source-contract: unknown contract {unknown[0]!r}; known: {', '.join(registry.contracts)}")
    client = connect(redis_url(settings))
    try:
        rows = []
        for name in contracts or tuple(registry.contracts):
            stream = ContractStream(_no_session, settings, client, registry, name)
            with locked_contract(settings, name):
                _wait_until_quiet(client, stream)
                chosen = [lane for lane in stream.lanes.values() if not lanes or lane.lane in lanes]
                chosen = [lane for lane in chosen if stream.source.has_data() or has_checkpoint(lane.checkpoint)]
                rows += [_row(lane, existed=lane.reset()) for lane in chosen]
        return rows
    finally:
        client.close()


def _no_session() -> Any:
    raise Fault("a reset needs no Spark")


def _wait_until_quiet(client: redis.Redis, stream: ContractStream) -> None:
    """A heartbeat outlives a killed stream by seconds; one that stays is of a stream on another machine."""
    deadline = time.monotonic() + 1.5 * ALIVE_MS / 1000
    names = [keys.alive(stream.name, lane) for lane in stream.lanes]
    with answering(f"{stream.name}: nothing reset"):
        while client.exists(*names):
            if time.monotonic() > deadline:
                raise Fault(f"{stream.name}: a stream runs on another machine; stop it, then reset")
            time.sleep(0.2)


def _row(lane: Lane, *, existed: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"contract": lane.contract.name, "lane": lane.lane, "checkpoint": "new"}
    row["before"] = "removed" if existed else "none"
    if isinstance(lane, SpeedLane):
        edges = [edge for edge in lane.covered_from().values() if edge is not None]
        return row | {"covered_from": iso(max(edges)) if edges else None, "records_kept": None}
    note = lane.last_note()
    return row | {"covered_from": None, "records_kept": note.records.get("received", 0) if note else 0}
