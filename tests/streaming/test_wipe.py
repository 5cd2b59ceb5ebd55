"""What readers see while the views of a lane are being removed."""

from typing import Any

import redis

from streaming.rebuild import wipe_views
from tests.packs import SHIPPED
from tidemark import keys

METRIC = SHIPPED.metrics["device_access"]
PROGRESS = keys.progress("access", "exact")


class Watching(redis.Redis):
    """Notes with each removal whether the progress record, which vouches for the windows, is still there."""

    vouched: list[bool]

    def unlink(self, *names: Any) -> Any:
        reply = super().unlink(*names)
        self.vouched.append(bool(self.exists(PROGRESS)))
        return reply


def test_no_window_goes_while_the_progress_still_vouches_for_it(redis_url: str) -> None:
    with Watching.from_url(redis_url) as client:
        client.vouched = []
        window = keys.speed_window(METRIC.family, 600, 0)
        client.hset(window, "5:dev-1", b"partial")
        client.zadd(keys.speed_index(METRIC.family, 600), {"0": 0})
        client.set(PROGRESS, "{}")
        wipe_views(client, "access", "exact", (METRIC,))
        assert client.vouched
        assert not any(client.vouched)
        assert client.keys("*") == []
