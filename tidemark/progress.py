"""How far one streaming query has come, and who wrote last: read by serving, status and the batch."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Fence:
    """The newest write that Redis knows of: of which start (`epoch`) of which checkpoint, and its micro-batch."""

    epoch: int
    batch: int
    checkpoint: str

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """From `epoch:batch:checkpoint`."""
        epoch, batch, checkpoint = (text.decode() if isinstance(text, bytes) else text).split(":", 2)
        return cls(int(epoch), int(batch), checkpoint)


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a lane after a micro-batch.

    `as_of`: wall-clock second up to which received records are in, so a backlog never looks fresh. `watermark`,
    `max_event_time`: event time in seconds, None before the first event; what lies below the watermark is final.
    `position`: what of the source has been consumed. `families`: family → event time from which its windows are
    complete (None: from the beginning). `records`: cumulative counts of the lake lane. `failed`: metrics that were
    left out because they fail when they run, name → with what.
    """

    epoch: int
    batch: int
    as_of: float
    watermark: int | None = None
    max_event_time: float | None = None
    position: dict[str, Any] = field(default_factory=dict)
    families: dict[str, int | None] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def is_fresh(self, now: float, stale_after_s: float) -> bool:
        """Whether `as_of` is about now. Neither is one ahead of the clock, which a host that was set back leaves
        behind: it would hide a stream that hangs for as long as the step was."""
        return abs(now - self.as_of) <= stale_after_s

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Fields that are not known are left out: a newer stream may write while a reader is still old."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})
