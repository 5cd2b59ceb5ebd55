"""Another Redis process than before: noticed without a write, and its pointers to publications are not believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from streaming.rebuild import forget_pointers
from streaming.server_watch import ServerWatch
from tests.faults.redis_faults import RedisServer
from tidemark import keys
from tidemark.errors import ViewsUnavailable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path / "redis").start()
    yield running
    running.stop()


def test_a_server_that_was_started_again_is_told_once(server: RedisServer) -> None:
    told: list[str] = []
    with server.client() as client:
        watch = ServerWatch(client)
        watch.look(lambda: told.append("at first"))
        watch.look(lambda: told.append("the same"))
        server.kill()
        with pytest.raises(ViewsUnavailable):
            watch.look(lambda: told.append("away"))
        server.start()
        watch.look(lambda: told.append("another"))
        watch.look(lambda: told.append("still that one"))
    assert told == ["another"]


def test_what_is_to_be_done_about_it_is_tried_again_until_it_succeeds(server: RedisServer) -> None:
    def fail() -> None:
        raise ViewsUnavailable("away again")

    done: list[bool] = []
    with server.client() as client:
        watch = ServerWatch(client)
        watch.look(fail)
        server.kill()
        server.start()
        for _ in range(2):
            with pytest.raises(ViewsUnavailable):
                watch.look(fail)
        watch.look(lambda: done.append(True))
    assert done == [True]


def test_the_pointers_of_all_metrics_are_forgotten_and_nothing_else(redis_url: str) -> None:
    """Those of metrics that only the batch computes used to stay, however old they were."""
    with redis.Redis.from_url(redis_url) as client:
        client.mset({keys.publication("device_access"): "{}", keys.publication("only_by_batch"): "{}", "other": "1"})
        forget_pointers(client)
        assert client.keys("*") == [b"other"]
        forget_pointers(client)
