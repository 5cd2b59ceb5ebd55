"""Quix Streams, two processes of one consumer group: windows updated in Redis with each checkpoint, state in RocksDB.

The records carry no key, so they are grouped by device through a repartition topic first, as its documentation asks.
"""

import multiprocessing
import time
from datetime import datetime

import redis
from quixstreams import Application
from quixstreams.dataframe.windows.aggregations import Count, Max, Min, Sum
from quixstreams.sinks.base import BatchingSink

from bench.peers.job import BOOTSTRAP, EVENTS, FLUSH_S, FOLDER, GRACE_S, REDIS, TOPIC, WINDOW_S, packed, write_marks

PROCESSES = 2


class RedisSink(BatchingSink):
    """The newest value of each window that changed since the last checkpoint."""

    def __init__(self, number, aggregated):
        super().__init__()
        self._client = redis.Redis.from_url(REDIS)
        self._number, self._aggregated = number, aggregated

    def add(self, *args, **kwargs):
        super().add(*args, **kwargs)
        self._aggregated[self._number] += 1

    def write(self, batch):
        newest = {(item.value["start"], item.key): item.value for item in batch}
        with self._client.pipeline(transaction=False) as pipe:
            for (start, device), held in newest.items():
                value = packed(held["count"], held["sum"], held["min"], held["max"])
                pipe.hset(f"peer:{start // 1000}", device, value)
            pipe.execute()


def work(number, aggregated, first):
    def event_time(value, headers, timestamp, timestamp_type):
        if not first[number]:
            first[number] = time.time()
        return int(datetime.fromisoformat(value["timestamp"]).timestamp() * 1000)

    app = Application(
        broker_address=BOOTSTRAP,
        consumer_group=f"quix-{FOLDER.name}",
        auto_offset_reset="earliest",
        commit_interval=FLUSH_S,
        state_dir=str(FOLDER / f"state-{number}"),
        loglevel="WARNING",
    )
    topic = app.topic(TOPIC, value_deserializer="json", timestamp_extractor=event_time)
    events = app.dataframe(topic)[["device_id", "access_count"]].group_by("device_id")
    column = "access_count"
    windows = events.tumbling_window(WINDOW_S * 1000, grace_ms=GRACE_S * 1000).agg(
        count=Count(), sum=Sum(column), min=Min(column), max=Max(column)
    )
    windows.current().sink(RedisSink(number, aggregated))
    app.run()


def main():
    aggregated = multiprocessing.Array("q", PROCESSES, lock=False)
    first = multiprocessing.Array("d", PROCESSES, lock=False)
    workers = [multiprocessing.Process(target=work, args=(n, aggregated, first)) for n in range(PROCESSES)]
    for worker in workers:
        worker.start()
    quarter, at_quarter = EVENTS // 4, None
    while sum(aggregated) < EVENTS and all(worker.is_alive() for worker in workers):
        if at_quarter is None and sum(aggregated) >= EVENTS // 4:
            quarter, at_quarter = sum(aggregated), time.time()
        time.sleep(0.01)
    for worker in workers:
        worker.terminate()  # a graceful stop: commits, and with it writes what is left
    for worker in workers:
        worker.join()
    if sum(aggregated) < EVENTS:
        raise SystemExit(f"a process ended after {sum(aggregated)} of {EVENTS} records")
    write_marks(min(at for at in first if at), at_quarter, quarter, time.time())


if __name__ == "__main__":
    main()
