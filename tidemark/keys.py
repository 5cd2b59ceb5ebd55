"""Names of everything stored: Redis keys and lake tables. Nothing else builds one.

Redis keys start with a format version; a change of layout is a change of `FORMAT`, so that old and new never mix.
"""

from dataclasses import dataclass

FORMAT = "tm1"
SENTINEL = b"#"
"""Field of a sealed window hash that says "this window is here, with n entities", also when n = 0. No dims key
can start with it: they are netstrings, which start with a digit or `-`."""

EVENTS_FAMILY = "_events@1"
"""Internal family: accepted (valid, distinct, not late) events per minute. How late events are counted."""
EVENTS_WINDOW_S = 60

LANES = ("exact", "sketch")
"""The speed queries of a contract; metrics with a sketch live in `sketch`, so that the others stay fast."""
LAKE_LANE = "lake"


def speed_window(family: str, window_s: int, start: int) -> str:
    """HASH dims key → packed partial, one per (family, window), absolute values."""
    return f"{FORMAT}:speed:{family}:{window_s}:{start}"


def speed_pattern() -> str:
    """Matches `speed_window` of every family, length and start."""
    return f"{FORMAT}:speed:*"


def speed_index(family: str, window_s: int) -> str:
    """ZSET of the starts of the windows that speed holds."""
    return f"{FORMAT}:speed-index:{family}:{window_s}"


def batch_window(family: str, window_s: int, start: int, version: int) -> str:
    """HASH dims key → packed partial plus SENTINEL; immutable once its version is published."""
    return f"{FORMAT}:batch:{family}:{window_s}:{start}:{version}"


def batch_index(family: str, window_s: int) -> str:
    """ZSET of `start:version` members scored by start: which sealed hashes exist."""
    return f"{FORMAT}:batch-index:{family}:{window_s}"


def publication(metric: str) -> str:
    """STRING, JSON `Publication`: the atomic pointer of a metric."""
    return f"{FORMAT}:publication:{metric}"


def progress(contract: str, lane: str) -> str:
    """STRING, JSON `Progress` of one streaming query."""
    return f"{FORMAT}:progress:{contract}:{lane}"


def alive(contract: str, lane: str) -> str:
    """STRING with a TTL, refreshed while the query runs."""
    return f"{FORMAT}:alive:{contract}:{lane}"


def alive_pattern() -> str:
    """Matches `alive` of every query."""
    return f"{FORMAT}:alive:*"


def batch_lease(lake: str) -> str:
    """STRING with a TTL: held by the one job that changes what batch owns of a lake in an object store."""
    return f"{FORMAT}:batch-lease:{lake}"


def every_pattern() -> str:
    """Matches all that this format keeps in Redis; not the names that apps know, which are republished."""
    return f"{FORMAT}:*"


def epoch(contract: str, lane: str) -> str:
    """Counter: each start of a query takes the next epoch."""
    return f"{FORMAT}:epoch:{contract}:{lane}"


def fence(contract: str, lane: str) -> str:
    """STRING `epoch:batch:checkpoint` of the newest whole batch; older writers are refused."""
    return f"{FORMAT}:fence:{contract}:{lane}"


def step(contract: str, lane: str) -> str:
    """STRING `epoch:batch:scripts`: how far the newest writer has come within a batch."""
    return f"{FORMAT}:step:{contract}:{lane}"


def late(contract: str, lane: str) -> str:
    """ZSET of watermark buckets (start seconds) in which speed dropped a late event."""
    return f"{FORMAT}:late:{contract}:{lane}"


def accepted(contract: str) -> str:
    """HASH minute start → events that speed accepted in it."""
    return f"{FORMAT}:accepted:{contract}"


def kpi(device: str, interval: str) -> str:
    """STRING, latest answer for the device dashboard as it was given (a fixed name, known to apps)."""
    return f"kpi:{device}:{interval}"


def kpi_basis(device: str, interval: str) -> str:
    """STRING, JSON: what the answer in `kpi` was built on; without it that one is not given again."""
    return f"{FORMAT}:kpi-basis:{device}:{interval}"


def checkpoint(root: str, contract: str, lane: str) -> str:
    """Folder of one streaming query's checkpoint below the checkpoints' root."""
    return f"{root.rstrip('/')}/{contract}/{lane}"


@dataclass(frozen=True, slots=True)
class LakeTables:
    """URIs of the lake's Delta tables below one root."""

    root: str

    def _table(self, *parts: str) -> str:
        return "/".join((self.root.rstrip("/"), *parts))

    def bronze_events(self, contract: str) -> str:
        return self._table("bronze", "events", contract)

    def bronze_quarantine(self, contract: str) -> str:
        return self._table("bronze", "quarantine", contract)

    def silver(self, contract: str) -> str:
        return self._table("silver", contract)

    def gold(self, metric: str) -> str:
        return self._table("gold", metric)

    @property
    def publications(self) -> str:
        return self._table("gold", "_publications")

    @property
    def parity(self) -> str:
        return self._table("gold", "_parity")

    @property
    def gates(self) -> str:
        return self._table("gold", "_gates")

    @property
    def late(self) -> str:
        return self._table("gold", "_late")
