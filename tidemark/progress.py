"""How far one streaming query has come, and who wrote last: read by serving, status and the batch."""

import json
from dataclasses import asdict, dataclass, field
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
    complete (None: from the beginning). `records`: cumulative counts of the lake lane.
    """

    epoch: int
    batch: int
    as_of: float
    watermark: int | None = None
    max_event_time: float | None = None
    position: dict[str, Any] = field(default_factory=dict)
    families: dict[str, int | None] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        return cls(**json.loads(text))
