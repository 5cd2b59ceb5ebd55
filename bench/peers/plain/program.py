"""A loop over confluent-kafka, orjson and a dict: no recovery, no scaling; what the machine gives to plain Python."""

import time
from datetime import datetime

import orjson
import redis
from confluent_kafka import Consumer

from bench.peers.job import BOOTSTRAP, EVENTS, FLUSH_S, FOLDER, REDIS, TOPIC, WINDOW_S, Marks, packed

consumer = Consumer(
    {"bootstrap.servers": BOOTSTRAP, "group.id": f"plain-{FOLDER.name}", "auto.offset.reset": "earliest"}
)
consumer.subscribe([TOPIC])
client = redis.Redis.from_url(REDIS)
windows: dict[tuple[int, str], list[int]] = {}
changed: set[tuple[int, str]] = set()
marks, done, flushed = Marks(), 0, time.monotonic()


def flush() -> None:
    """Every changed window, absolute."""
    fields: dict[int, dict[str, str]] = {}
    for start, device in changed:
        fields.setdefault(start, {})[device] = packed(*windows[start, device])
    changed.clear()
    with client.pipeline(transaction=False) as pipe:
        for start, values in fields.items():
            pipe.hset(f"peer:{start}", mapping=values)
        pipe.execute()


while done < EVENTS:
    messages = consumer.consume(10_000, min(0.1, FLUSH_S / 10))
    for message in messages:
        event = orjson.loads(message.value())
        at = int(datetime.fromisoformat(event["timestamp"]).timestamp())
        key, value = (at - at % WINDOW_S, event["device_id"]), event["access_count"]
        held = windows.get(key)
        if held is None:
            windows[key] = [1, value, value, value]
        else:
            held[0] += 1
            held[1] += value
            if value < held[2]:
                held[2] = value
            if value > held[3]:
                held[3] = value
        changed.add(key)
    if messages:
        done = marks.seen(len(messages))
    if changed and time.monotonic() - flushed >= FLUSH_S:
        flush()
        flushed = time.monotonic()
flush()
marks.end()
consumer.close()
