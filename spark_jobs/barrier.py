"""The barrier: a batch seals only what the lake holds, so it first waits until the lake holds what the source held.

By positions, not by the clock: the source's end when the batch began, against what the lake writer's checkpoint has
committed. While the writer lives or moves, the batch waits, at most `barrier_timeout_s`; when nothing drains the
source, it says so at once, seals nothing and exits 1.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import redis
import structlog

from conf.settings import Settings
from intake.checkpoint import consumed_position
from intake.position import Position, lag
from intake.source import open_source, refuse_lost
from runtime.redis_server import redis_url
from spark_jobs.script import SparkSource, contracts_of, run_script, script_arguments
from tidemark import keys
from tidemark.contracts import ContractSet
from tidemark.errors import SourceNotDrained

log = structlog.get_logger()
POLL_S = 0.25
PATIENCE_S = 2.0
"""How long a source without a living writer may stand still before the batch gives up."""


def run(settings: Settings, contracts: Iterable[ContractSet], client: "redis.Redis") -> dict[str, Position]:
    """Wait; returns the position of each source that the lake now holds. SourceNotDrained says the lag per contract,
    SourceLost what nobody can read any more: of a topic that was made anew, positions alone say that all was read."""
    sources = {each.name: open_source(settings, each.newest) for each in contracts}

    def consumed(contract: str) -> Position | None:
        return consumed_position(keys.checkpoint(settings.checkpoints_uri, contract, keys.LAKE_LANE))

    for contract, source in sources.items():
        refuse_lost(source, consumed(contract), None, f"{contract}/{keys.LAKE_LANE}")
    ends = {contract: source.end_position() for contract, source in sources.items()}
    wait_until_drained(
        ends,
        consumed,
        lambda contract: bool(client.exists(keys.alive(contract, keys.LAKE_LANE))),
        settings.barrier_timeout_s,
    )
    return ends


def wait_until_drained(
    ends: Mapping[str, Position],
    consumed: Callable[[str], Position | None],
    is_alive: Callable[[str], bool],
    timeout_s: float,
) -> None:
    """Return once every contract's consumed position has passed its end."""
    started = moved_at = time.monotonic()
    before: dict[str, int] = {}
    while lags := _lags(ends, consumed):
        now = time.monotonic()
        if lags != before:
            moved_at, before = now, lags
            log.info("waiting for the lake", behind=lags)
        if now - moved_at >= min(PATIENCE_S, timeout_s) and not any(is_alive(contract) for contract in lags):
            raise SourceNotDrained(f"nothing drains the source (run `tidemark stream`), nothing sealed: {_words(lags)}")
        if now - started >= timeout_s:
            raise SourceNotDrained(f"the lake is still behind the source after {timeout_s:g} s: {_words(lags)}")
        time.sleep(POLL_S)


def _lags(ends: Mapping[str, Position], consumed: Callable[[str], Position | None]) -> dict[str, int]:
    lags = {contract: lag(end, consumed(contract)) for contract, end in ends.items() if lag(end, None)}
    return {contract: records for contract, records in lags.items() if records}


def _words(lags: Mapping[str, int]) -> str:
    return ", ".join(f"{contract} {records} records behind" for contract, records in sorted(lags.items()))


def main(argv: Sequence[str] | None = None) -> None:
    """`barrier.py [--env E] [CONTRACT…]`: wait until the lake holds what the source holds now."""
    arguments = script_arguments(main.__doc__, argv)

    def job(_: SparkSource, settings: Settings) -> bool:
        with redis.Redis.from_url(redis_url(settings)) as client:
            run(settings, contracts_of(settings, arguments.names), client)
        return True

    sys.exit(run_script("barrier", arguments, job))


if __name__ == "__main__":
    main()
