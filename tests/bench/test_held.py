"""What counts as held."""

import redis

from bench.held import held_partials
from tidemark import keys


def test_partials_of_all_speed_windows_count_and_nothing_else_does(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert held_partials(client) == 0
        for start, devices in ((0, "abc"), (600, "a")):
            client.hset(keys.speed_window("totals@1", 600, start), mapping=dict.fromkeys(devices, "partial"))
        client.hset(keys.accepted("access"), "0", "4")
        client.zadd(keys.speed_index("totals@1", 600), {"0": 0})
        assert held_partials(client) == 4
