"""Both layers of `device_access` over a day (or less) of 10-minute windows, written with the product's own encoders.

The first half is sealed: in gold and, as for every hot window, in Redis. The second half is speed's, whose watermark
has left the newest window open. Numbers follow from the seed, so every answer can be checked. No JVM.
"""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import pyarrow as pa
import redis
from deltalake import DeltaTable, write_deltalake
from numpy.typing import NDArray

from conf.settings import PACKAGED
from tidemark import keys
from tidemark.dims import encode_dims
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import load_registry
from tidemark.partials import PartialCodec
from tidemark.progress import Progress
from tidemark.publication import Publication
from tidemark.windows import floor_to

WINDOW_S = 600
WINDOWS = 144
CHUNK = 20_000
"""Fields of one write."""
BEAT_S = 0.5
"""Between the micro-batches of the stream that the benchmark plays."""
_UTC_US = pa.timestamp("us", tz="UTC")


@dataclass
class Day:
    """`totals`, `counts`: per device and window. Ends with the last whole granule before now."""

    devices: int
    redis_url: str
    tables: keys.LakeTables
    seed: int = 1
    windows: int = WINDOWS
    metric: Metric = field(init=False)

    def __post_init__(self) -> None:
        self.metric = load_registry([PACKAGED]).metrics["device_access"]
        rng = np.random.default_rng(self.seed)
        self.counts: NDArray[np.int64] = rng.integers(1, 200, (self.devices, self.windows))
        self.totals: NDArray[np.int64] = self.counts + rng.integers(0, 5_000, (self.devices, self.windows))
        self.end = floor_to(time.time(), self.metric.granule_s)
        self.start = self.end - self.windows * WINDOW_S
        self.cut = self.start + self.windows // 2 * WINDOW_S
        self.names = [f"dev-{number}" for number in range(self.devices)]
        self._keys = [encode_dims([name]) for name in self.names]

    def write(self) -> None:
        """The lake, the sealed windows and the pointer, speed's windows and their progress."""
        publication = self._write_gold()
        with redis.Redis.from_url(self.redis_url) as client:
            for place in range(self.windows):
                self._write_window(client, place, publication)
            client.set(keys.publication(self.metric.name), publication.to_json())
            self.beat(client, 1)

    def beat(self, client: redis.Redis, batch: int) -> None:
        """One micro-batch: a hundred devices of the open window (to the same values), then the progress."""
        metric, lane = self.metric, self.metric.lane
        place = self.windows - 1
        changed = {key: self._packed(number, place) for number, key in enumerate(self._keys[:100])}
        progress = Progress(1, batch, time.time(), self.end - WINDOW_S, self.end - 1, families={metric.family: None})
        pipe = client.pipeline()
        pipe.hset(keys.speed_window(metric.family, WINDOW_S, self._at(place)), mapping=changed)  # type: ignore[arg-type]
        pipe.set(keys.progress(metric.contract, lane), progress.to_json())
        pipe.set(keys.fence(metric.contract, lane), f"1:{batch}:bench")
        pipe.set(keys.alive(metric.contract, lane), "1", px=60_000)
        pipe.execute()

    def _at(self, place: int) -> int:
        return self.start + place * WINDOW_S

    def _packed(self, device: int, place: int) -> bytes:
        partial = int(self.totals[device, place]), int(self.counts[device, place])
        return PartialCodec(self.metric).encode(partial)

    def _window(self, place: int) -> list[bytes]:
        codec = PartialCodec(self.metric)
        pairs = zip(self.totals[:, place].tolist(), self.counts[:, place].tolist(), strict=True)
        return [codec.encode(pair) for pair in pairs]

    def _write_window(self, client: redis.Redis, place: int, publication: Publication) -> None:
        family, start = self.metric.family, self._at(place)
        fields: list[tuple[bytes, bytes | int]] = list(zip(self._keys, self._window(place), strict=True))
        name = keys.speed_window(family, WINDOW_S, start)
        if start < self.cut:
            name = keys.batch_window(family, WINDOW_S, start, publication.version)
            fields.append((keys.SENTINEL, len(fields)))
        else:
            client.zadd(keys.speed_index(family, WINDOW_S), {str(start): start})
        for first in range(0, len(fields), CHUNK):
            client.hset(name, mapping=dict(fields[first : first + CHUNK]))

    def _write_gold(self) -> Publication:
        uri = self.tables.gold(self.metric.name)
        write_deltalake(uri, pa.concat_tables(self._gold(place) for place in range(self.windows // 2)))
        publication = Publication(
            metric=self.metric.name,
            family=self.metric.family,
            version=1,
            sealed_through=self.cut,
            gold_version=DeltaTable(uri).version(),
            silver_version=0,
            gate="passed",
            published_at=time.time(),
            hot_from=self.start,
            runs=((self.start, self.cut, 1),),
            definition=self.metric.source_text,
        )
        row = {"metric": self.metric.name, "version": 1, "record": publication.to_json()}
        write_deltalake(self.tables.publications, pa.Table.from_pylist([row]))
        return publication

    def _gold(self, place: int) -> pa.Table:
        size = self.devices
        start = pa.scalar(self._at(place) * 1_000_000, _UTC_US)
        return pa.table(
            {
                "metric": pa.repeat(pa.scalar(self.metric.name), size),
                "version": pa.repeat(pa.scalar(1, pa.int64()), size),
                "window": pa.repeat(pa.scalar("10m"), size),
                "window_start": pa.repeat(start, size),
                "device_id": pa.array(self.names),
                "dims_key": pa.array([key.decode() for key in self._keys]),
                "partial": pa.array(self._window(place), pa.binary()),
            }
        )


class Beating:
    """The stream that keeps a day fresh while answers are measured: one micro-batch every BEAT_S, in a thread."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Beating":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        batch = 1
        with redis.Redis.from_url(self._day.redis_url) as client:
            while not self._ended.wait(BEAT_S):
                batch += 1
                self._day.beat(client, batch)
