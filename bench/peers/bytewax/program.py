"""Bytewax, one process: each window is written once, when it closes (at the latest at the end of the topic).

No recovery store is configured. Two processes were slower in a first measurement (27,000 events/s against 53,000).
"""

from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
import redis
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from bench.peers.job import BOOTSTRAP, GRACE_S, REDIS, TOPIC, WINDOW_S, Marks, packed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
marks = Marks()


def read(message):
    event = orjson.loads(message.value)
    marks.seen(1)
    return event["device_id"], (datetime.fromisoformat(event["timestamp"]), event["access_count"])


def fold(held, event):
    value = event[1]
    if not held:
        return [1, value, value, value]
    held[0] += 1
    held[1] += value
    if value < held[2]:
        held[2] = value
    if value > held[3]:
        held[3] = value
    return held


def merge(one, other):
    return [one[0] + other[0], one[1] + other[1], min(one[2], other[2]), max(one[3], other[3])]


class RedisPartition(StatelessSinkPartition):
    def __init__(self):
        self.client = redis.Redis.from_url(REDIS)

    def write_batch(self, items):
        with self.client.pipeline(transaction=False) as pipe:
            for device, (window, held) in items:
                pipe.hset(f"peer:{window * WINDOW_S}", device, packed(*held))
            pipe.execute()

    def close(self):
        marks.end()


class RedisSink(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return RedisPartition()


flow = Dataflow("peer")
records = op.input("kafka", flow, KafkaSource([BOOTSTRAP], [TOPIC], tail=False, batch_size=5000))
keyed = op.map("read", records, read)
windows = win.fold_window(
    "fold",
    keyed,
    win.EventClock(lambda event: event[0], timedelta(seconds=GRACE_S)),
    win.TumblingWindower(length=timedelta(seconds=WINDOW_S), align_to=EPOCH),
    list,
    fold,
    merge,
    ordered=False,
)
op.output("redis", windows.down, RedisSink())
