"""The peers: who runs, in which folder beside this module, and what each can be compared on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """`share`: of the events, for one too slow for all of them. `files`: results are files, not in Redis."""

    name: str
    folder: str
    arguments: tuple[str, ...] = ()
    share: float = 1.0
    updates: bool = False
    """Windows are updated in Redis while they are open, not written once at their end."""
    recovers: bool = True
    """State survives a crash as it is configured here."""
    files: bool = False


PEERS = (
    Peer("plain Python loop", "plain", updates=True, recovers=False),
    Peer("Bytewax", "bytewax", recovers=False),
    Peer("Kafka Streams", "kafka_streams", updates=True),
    Peer("PyFlink, file sink", "pyflink", ("file",), files=True),
    Peer("PyFlink, Redis at close", "pyflink", ("redis",)),
    Peer("PyFlink, Redis updated", "pyflink", ("updates",), share=0.2, updates=True),
    Peer("Quix Streams", "quix", share=0.05, updates=True),
)
FEAST = Peer("Feast", "feast")
"""A peer of serving, not of streams: features.py."""
POLARS = Peer("Polars", "polars", files=True)
"""A peer of the batch: bench/batch.py."""
