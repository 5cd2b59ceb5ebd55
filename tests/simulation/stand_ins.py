"""What of the product's surroundings the models stand in for: checkpoint files, the lake, clocks, threads."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from spark_jobs import barrier, parity, publish
from streaming import checkpoint_log, fenced_writer, speed_lane
from tests.simulation.engine import position, to_table
from tidemark.metrics.model import Metric

if TYPE_CHECKING:
    from tests.simulation.world import World


class StandIns:
    """In place of the product's functions until `close`."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._patches = ExitStack()
        clock = SimpleNamespace(monotonic=lambda: world.clock_s)
        for owner, name, model in self._replaced():
            self._patches.enter_context(mock.patch.object(owner, name, model))
        for place in ("spark_jobs.hot_views", "spark_jobs.parity"):
            self._patches.enter_context(mock.patch(f"{place}.read_windows", world.lake.read_windows))
        for place in ("serving.backlog", "serving.batch_store"):
            self._patches.enter_context(mock.patch(f"{place}.time", clock))
        self._patches.enter_context(mock.patch("asyncio.to_thread", _at_once))

    def close(self) -> None:
        self._patches.close()

    def _replaced(self) -> list[tuple[Any, str, Any]]:
        lake = self._world.lake
        return [
            (speed_lane, "check_files", lambda _: None),
            (speed_lane, "sealed_since", self._sealed_since),
            (speed_lane, "read_batch_facts", lambda query, _: query.facts),
            (speed_lane, "restore_open_windows", self._restored),
            (checkpoint_log, "consumed_position", self._consumed_position),
            (fenced_writer, "_MAX_ARGUMENTS", 16),
            (fenced_writer, "_PIPELINE", 2),
            (publish, "latest_publications", lambda _: lake.latest()),
            (publish, "commit_publications", lambda _, new: lake.publications.extend(new)),
            (parity, "first_day", lake.first_day),
            (barrier, "log", mock.Mock()),
        ]

    def _sealed_since(self, _: object, metrics: Sequence[Metric]) -> int | None:
        published = self._world.lake.latest()
        edges = [published[each.name].sealed_through if each.name in published else None for each in metrics]
        return None if None in edges else min(cast(list[int], edges), default=None)

    def _restored(self, _: object, uri: str, lane: str, commit: checkpoint_log.Commit) -> Any:
        return to_table(sorted(self._world.checkpoint(uri).states[commit.batch].groups.items()))

    def _consumed_position(self, uri: str) -> Any:
        checkpoint = self._world.checkpoint(uri)
        return position(checkpoint.committed_end) if checkpoint.commits else None


async def _at_once(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return function(*args, **options)
