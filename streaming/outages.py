"""Which failures of a query mean that a store is away: to be waited for, not counted."""

import redis

from streaming.fenced_writer import ViewsLost
from tidemark.errors import SourceUnavailable, ViewsUnavailable

_BROKER_AWAY = (
    "org.apache.kafka.common.errors.TimeoutException",
    "org.apache.kafka.common.errors.DisconnectException",
    "org.apache.kafka.common.errors.NotLeaderOrFollowerException",
    "org.apache.kafka.common.errors.LeaderNotAvailableException",
    "org.apache.kafka.common.KafkaException: Failed to construct kafka consumer",
)
"""As they stand in the text of a failed query: Spark hands over the causes as text only."""


def is_outage(error: BaseException) -> bool:
    """Redis or the source's broker does not answer. A Redis that answers but has lost the views is another matter."""
    if isinstance(error, ViewsLost):
        return False
    if isinstance(error, ViewsUnavailable | SourceUnavailable | redis.RedisError):
        return True
    text = str(error)
    return any(name in text for name in _BROKER_AWAY)
