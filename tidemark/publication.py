"""A publication: the one record that says what batch owns. Moving it is the only way `sealed_through` moves."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tidemark.windows import Span

Run = tuple[int, int, int]
"""`(start, end, version)`: granules in `[start, end)` were last written by publication `version`."""


@dataclass(frozen=True, slots=True)
class Publication:
    """State of a metric after a batch that passed its gates.

    `sealed_through`: exclusive end in epoch seconds of what batch owns. `gold_version`: the Delta version of the gold
    table that readers pin, so that no answer mixes two batches. `silver_version`: the Delta version of silver that was
    aggregated; rows added later are what makes granules dirty. `hot_from`: sealed partials from here on are in Redis.
    `runs`: which publication last wrote which granules, sorted and disjoint; the ground of ETags and of Redis keys.
    `definition`: the metric as it was compiled, so that readers can serve it while a newer one is being backfilled.
    `kept_from`: what is sealed below it was deleted after `cold`; None when nothing ever was.
    """

    metric: str
    family: str
    version: int
    sealed_through: int
    gold_version: int | None
    silver_version: int | None
    gate: str
    published_at: float
    hot_from: int
    runs: tuple[Run, ...]
    definition: dict[str, Any]
    kept_from: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Fields that are not known are left out: a newer job may write while a reader is still old."""
        known = {each.name for each in fields(cls)}
        given = {name: value for name, value in json.loads(text).items() if name in known}
        given["runs"] = tuple((int(s), int(e), int(v)) for s, e, v in given["runs"])
        return cls(**given)

    def version_of(self, start: int) -> int | None:
        """The publication that last wrote the granule holding `start`; None where batch never wrote one."""
        for run_start, run_end, version in self.runs:
            if run_start <= start < run_end:
                return version
        return None

    def runs_in(self, span: Span) -> tuple[Run, ...]:
        """The runs that touch a span, clipped to it: equal tuples mean equal sealed data."""
        clipped = ((max(s, span.start), min(e, span.end), v) for s, e, v in self.runs)
        return tuple(run for run in clipped if run[0] < run[1])

    def expired_in(self, span: Span) -> Span:
        """The part of a span that is deleted; empty when all of it is kept."""
        kept_from = span.start if self.kept_from is None else self.kept_from
        return Span(span.start, min(max(kept_from, span.start), span.end))


def overwrite_runs(runs: Iterable[Run], spans: Iterable[Span], version: int) -> tuple[Run, ...]:
    """Lay `spans`, written by `version`, over older runs; neighbours of one version become one run."""
    result = list(runs)
    for span in spans:
        if span.is_empty:
            continue
        kept: list[Run] = []
        for start, end, old in result:
            kept += [(start, min(end, span.start), old), (max(start, span.end), end, old)]
        result = [run for run in kept if run[0] < run[1]] + [(span.start, span.end, version)]
    merged: list[Run] = []
    for start, end, owner in sorted(run for run in result if run[0] < run[1]):
        if merged and merged[-1][1] == start and merged[-1][2] == owner:
            merged[-1] = (merged[-1][0], end, owner)
        else:
            merged.append((start, end, owner))
    return tuple(merged)
