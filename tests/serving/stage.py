"""Both layers as a batch and a stream would have left them, written with the domain's own codec and names. No JVM."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import redis
from deltalake import DeltaTable, write_deltalake

from conf.settings import Settings
from serving.app import create_app
from tests.packs import SHIPPED
from tests.serving.asgi_client import AsgiClient, running
from tidemark import keys
from tidemark.dims import decode_texts, encode_dims
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec
from tidemark.progress import Progress
from tidemark.publication import Publication, overwrite_runs
from tidemark.windows import Span, parse_instant, starts, window_name

BEGINNING = -62_135_596_800
Partials = Mapping[tuple[int, str], tuple[Any, ...]]
"""(window start, device) → partial."""
UTC_US = pa.timestamp("us", tz="UTC")
_COLUMNS = {"string": pa.string(), "long": pa.int64(), "boolean": pa.bool_(), "timestamp": UTC_US}


def at(text: str) -> int:
    """`00:30` of the first of January 2026 → epoch seconds."""
    return int(parse_instant(f"2026-01-01T{text}:00Z", "test").timestamp())


def _column_value(kind: str, text: str | None) -> Any:
    """A dimension's canonical text as its column holds it."""
    if text is None or kind == "string":
        return text
    if kind == "boolean":
        return text == "true"
    return int(text) if kind == "long" else pa.scalar(int(text), UTC_US).as_py()


def instant(text: str) -> str:
    return f"2026-01-01T{text}:00Z"


@dataclass
class Stage:
    """One metric's world; `seal` is a batch, `stream` a micro-batch."""

    settings: Settings
    redis_url: str
    metric: Metric = SHIPPED.metrics["device_access"]
    published: Publication | None = None
    tables: keys.LakeTables = field(init=False)
    client: redis.Redis = field(init=False)
    closing: ExitStack = field(default_factory=ExitStack)
    _shared: AsgiClient | None = None

    def __post_init__(self) -> None:
        self.tables = keys.LakeTables(self.settings.lake_uri)
        self.client = self.closing.enter_context(redis.Redis.from_url(self.redis_url))

    def pack(self, partial: tuple[Any, ...]) -> bytes:
        return PartialCodec(self.metric).encode(partial)

    def seal(
        self,
        partials: Mapping[int, Partials],
        through: int,
        *,
        spans: list[Span] | None = None,
        hot_from: int | None = None,
        pointer: bool = True,
        kept_from: int | None = None,
    ) -> Publication:
        """Publish `window_s → partials` as everything below `through`, as the next version."""
        before = self.published
        version = before.version + 1 if before else 1
        runs = overwrite_runs(before.runs if before else (), spans or [Span(BEGINNING, through)], version)
        gold = self._write_gold(partials, version)
        hot = through if hot_from is None else hot_from
        publication = Publication(
            self.metric.name,
            self.metric.family,
            version,
            through,
            gold,
            0,
            "passed",
            time.time(),
            hot,
            runs,
            self.metric.source_text,
            kept_from,
        )
        self._write_hot(partials, publication)
        row = {"metric": self.metric.name, "version": version, "record": publication.to_json()}
        write_deltalake(self.tables.publications, pa.Table.from_pylist([row]), mode="append", schema_mode="merge")
        if pointer:
            self.point(publication)
        self.published = publication
        return publication

    def point(self, publication: Publication) -> None:
        self.client.set(keys.publication(self.metric.name), publication.to_json())

    def _write_gold(self, partials: Mapping[int, Partials], version: int) -> int:
        rows = [
            self._gold_row(window_s, start, dims, partial, version)
            for window_s, by in partials.items()
            for (start, dims), partial in by.items()
        ]
        schema = pa.schema(
            [
                ("metric", pa.string()),
                ("version", pa.int64()),
                ("window", pa.string()),
                ("window_start", UTC_US),
                ("window_end", UTC_US),
                *((dim.name, _COLUMNS[dim.type]) for dim in self.metric.dims),
                ("dims_key", pa.string()),
                ("partial", pa.binary()),
                ("window_date", pa.date32()),
            ]
        )
        uri = self.tables.gold(self.metric.name)
        write_deltalake(uri, pa.Table.from_pylist(rows, schema=schema), mode="overwrite", partition_by=["window_date"])
        return DeltaTable(uri).version()

    def _gold_row(self, window_s: int, start: int, dims: str, partial: tuple[Any, ...], version: int) -> dict[str, Any]:
        key = self.key(dims)
        texts = zip(self.metric.dims, decode_texts(key), strict=True)
        columns = {dim.name: _column_value(dim.type, text) for dim, text in texts}
        stamp = pa.scalar(start * 1_000_000, UTC_US).as_py()
        return {
            "metric": self.metric.name,
            "version": version,
            "window": window_name(window_s),
            "window_start": stamp,
            "window_end": pa.scalar((start + window_s) * 1_000_000, UTC_US).as_py(),
            "dims_key": key.decode(),
            "partial": self.pack(partial),
            "window_date": stamp.date(),
            **columns,
        }

    def key(self, dims: str) -> bytes:
        """Dims of a group, separated by `|`."""
        return encode_dims(dims.split("|")) if self.metric.dims else b""

    def _write_hot(self, partials: Mapping[int, Partials], publication: Publication) -> None:
        for window_s in self.metric.windows:
            for start in starts(Span(publication.hot_from, publication.sealed_through), window_s):
                name = keys.batch_window(
                    publication.family, window_s, start, publication.version_of(start) or publication.version
                )
                found = {d: p for (s, d), p in partials.get(window_s, {}).items() if s == start}
                fields: dict[bytes, Any] = {self.key(dims): self.pack(partial) for dims, partial in found.items()}
                self.client.hset(name, mapping={**fields, keys.SENTINEL: len(found)})  # type: ignore[arg-type]

    def stream(
        self, partials: Mapping[int, Partials], *, alive: bool = True, checkpoint: str = "stage", **progress: Any
    ) -> Progress:
        """Write speed windows, the progress and the fence; `families` default to complete from the beginning."""
        for window_s, by in partials.items():
            for (start, dims), partial in by.items():
                name = keys.speed_window(self.metric.family, window_s, start)
                self.client.hset(name, self.key(dims), self.pack(partial))  # type: ignore[arg-type]
                self.client.zadd(keys.speed_index(self.metric.family, window_s), {str(start): start})
        given: dict[str, Any] = {
            "epoch": 1,
            "batch": 1,
            "as_of": time.time(),
            "families": {self.metric.family: None},
            **progress,
        }
        state = Progress(**given)
        self.client.set(keys.progress(self.metric.contract, self.metric.lane), state.to_json())
        self.client.set(keys.fence(self.metric.contract, self.metric.lane), f"{state.epoch}:{state.batch}:{checkpoint}")
        if alive:
            self.client.set(keys.alive(self.metric.contract, self.metric.lane), "1", px=60_000)
        else:
            self.client.delete(keys.alive(self.metric.contract, self.metric.lane))
        return state

    def shared_api(self) -> AsgiClient:
        """One running app for all examples of a test; it ends with the test (see conftest)."""
        if self._shared is None:
            self._shared = self.closing.enter_context(self.api())
        return self._shared

    @contextmanager
    def api(self, **settings: Any) -> Iterator[AsgiClient]:
        """The app on a real Redis and lake."""
        app = create_app(self.settings.model_copy(update=settings) if settings else self.settings)
        with running(app) as client:
            yield client


def ask(client: AsgiClient, metric: str = "device_access", **parameters: Any) -> Any:
    """GET an answer; `from_` stands for `from`."""
    asked = {"window": "10m", "from_": instant("00:00"), "to": instant("01:00"), **parameters}
    pairs = [
        (name.rstrip("_"), value)
        for name, given in asked.items()
        for value in (given if isinstance(given, list) else [given])
        if value is not None
    ]
    return client.get(f"/v1/metrics/{metric}", params=pairs)
