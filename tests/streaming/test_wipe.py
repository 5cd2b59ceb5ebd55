"""What readers and newer writers see while the views of a lane are being removed."""

from collections.abc import Iterator

import pytest
import redis

from streaming import fenced_writer
from streaming.fenced_writer import FencedWriter
from streaming.rebuild import wipe_views
from tests.packs import SHIPPED
from tidemark import keys
from tidemark.errors import StaleWriter

METRIC = SHIPPED.metrics["device_access"]
PROGRESS = keys.progress("access", "exact")
WINDOW = keys.speed_window(METRIC.family, 600, 0)
INDEX = keys.speed_index(METRIC.family, 600)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connected:
        connected.hset(WINDOW, "5:dev-1", b"partial")  # type: ignore[arg-type]
        connected.zadd(INDEX, {"0": 0})
        connected.set(PROGRESS, "{}")
        yield connected


def claimed(client: redis.Redis) -> FencedWriter:
    writer = FencedWriter(client, "access", "exact", "checkpoint")
    writer.claim(0, 3, intact=True)
    return writer


def test_no_window_goes_while_the_progress_still_vouches_for_it(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fenced_writer, "_MAX_ARGUMENTS", 1)
    monkeypatch.setattr(fenced_writer, "_PIPELINE", 1)
    vouched: list[bool] = []
    send = FencedWriter._send

    def watched(self: FencedWriter, *arguments: object, **options: object) -> None:
        send(self, *arguments, **options)  # type: ignore[arg-type]
        vouched.append(bool(client.exists(PROGRESS)))

    monkeypatch.setattr(FencedWriter, "_send", watched)
    wipe_views(claimed(client), 3, (METRIC,))
    assert len(vouched) > 3
    assert not any(vouched)
    assert not client.exists(WINDOW, INDEX, PROGRESS)


def test_a_stream_that_hung_before_it_wiped_leaves_the_views_of_the_newer_one(client: redis.Redis) -> None:
    hung = claimed(client)
    claimed(client)
    with pytest.raises(StaleWriter):
        wipe_views(hung, 3, (METRIC,))
    assert client.exists(WINDOW, INDEX, PROGRESS) == 3
