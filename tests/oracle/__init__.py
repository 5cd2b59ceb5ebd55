"""The truth, recomputed in plain Python from the distinct valid events. Shares nothing with Tidemark's own code.

expected = points("device_access", read_events(ledger), 600, ["device_id"], {})
assert mismatches(answer["points"], expected, ["device_id"]) == []
"""

from tests.oracle.compare import mismatches
from tests.oracle.expected import Close, Distinct, Exact, Expected, Rank
from tests.oracle.recompute import METRICS, Key, points, read_events

__all__ = ["METRICS", "Close", "Distinct", "Exact", "Expected", "Key", "Rank", "mismatches", "points", "read_events"]
