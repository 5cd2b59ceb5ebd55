"""Publish: hot sealed partials into Redis, one Delta commit of `_publications`, then the pointers in Redis.

The commit is the moment of truth. All before it prepares what no reader looks at yet; all after it can be repeated at
any time and is, at the start of every batch: a pointer behind the lake is moved; hot windows that are missing or came
after the pointer, and the values that apps read by themselves, are written again. When Redis does not answer, the batch
fails before the commit: answers would otherwise have lost both their hot windows and the news that the lake has moved
on, and the next batch repeats the work anyway.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import redis
import structlog

from conf.settings import Settings
from runtime.redis_server import redis_url
from spark_jobs.batch_lock import sole_job
from spark_jobs.hot_views import Window, expire_superseded, hot_windows, missing_windows, write_windows
from spark_jobs.latest_values import publish_values
from spark_jobs.ledgers import commit_publications, latest_publications
from spark_jobs.plan import MetricPlan
from spark_jobs.script import SparkSource, registry_of, run_script, script_arguments
from tidemark import keys
from tidemark.contracts import ContractSet
from tidemark.errors import DefinitionError, ViewsUnavailable
from tidemark.keys import LakeTables
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric
from tidemark.publication import Publication, overwrite_runs
from tidemark.windows import WINDOWS, Span, floor_to

log = structlog.get_logger()
SPEED_GRACE_S = 3_600
"""How long a speed window stays once it is sealed."""


@contextmanager
def connect(settings: Settings) -> "Iterator[redis.Redis]":
    """A client whose failures, also later ones, are ViewsUnavailable."""
    try:
        with redis.Redis.from_url(redis_url(settings), socket_timeout=30, socket_connect_timeout=5) as client:
            client.ping()
            yield client
    except redis.RedisError as error:
        raise ViewsUnavailable(f"Redis does not answer, so nothing is published: {error}") from error


def new_publication(plan: MetricPlan, gold: int | None, silver: int | None, now: float) -> Publication:
    """What the plan's batch will own once it is committed."""
    metric, previous = plan.metric, plan.previous
    kept = previous.runs if previous and not plan.rebuild else ()
    return Publication(
        metric=metric.name,
        family=metric.family,
        version=plan.version,
        sealed_through=plan.sealed_through,
        gold_version=gold,
        silver_version=silver,
        gate="passed",
        published_at=now,
        definition=metric.source_text,
        hot_from=floor_to(plan.sealed_through - metric.retention.hot_s, metric.granule_s),
        runs=overwrite_runs(kept, plan.spans, plan.version),
        kept_from=previous.kept_from if previous and not plan.rebuild else None,
    )


def run(
    client: "redis.Redis",
    tables: LakeTables,
    planned: Sequence[tuple[MetricPlan, Publication]],
    check_sole: Callable[[], None],
) -> None:
    """Make the publications true: hot windows, the commit, values, the pointers, then what they supersede lapses.

    Whoever reads the finished values in Redis reads no pointer: a pointer that is behind the lake tells the next batch
    that they may be missing, so they come before it. `check_sole`: raises when this is not the only batch any more.
    """
    for plan, publication in planned:
        prepare_hot(client, tables, plan.metric, publication, plan.spans)
    check_sole()
    commit_publications(tables, [publication for _, publication in planned])
    for plan, publication in planned:
        publish_values(client, tables, plan.metric, publication, plan.spans)
    point_to(client, [publication for _, publication in planned])
    for plan, publication in planned:
        clean_up(client, plan.metric, publication, plan.previous)


def prepare_hot(
    client: "redis.Redis", tables: LakeTables, metric: Metric, publication: Publication, changed: Iterable[Span]
) -> int:
    """Write the hot windows that changed, and those that Redis has lost."""
    wanted = missing_windows(client, metric, publication)
    wanted |= _within(hot_windows(metric, Span(publication.hot_from, publication.sealed_through)), changed)
    return write_windows(client, metric, publication, tables.gold(metric.name), wanted)


def point_to(client: "redis.Redis", publications: Sequence[Publication]) -> None:
    """Move the pointers of all metrics at once."""
    if publications:
        client.mset({keys.publication(each.metric): each.to_json() for each in publications})


def heal(
    client: "redis.Redis", tables: LakeTables, metrics: Mapping[str, Metric], contracts: Mapping[str, ContractSet]
) -> dict[str, Publication]:
    """Bring Redis to what the lake has published; returns the newest publication of each metric.

    Hot windows that came after the pointer are written again although they seem to be there: in a Redis that went back,
    they are those of a batch that died, under the number that the next one then published.
    """
    published = latest_publications(tables)
    for name, publication in published.items():
        metric = _published_metric(metrics.get(name), publication, contracts)
        pointer = client.get(keys.publication(name))
        is_current = pointer == publication.to_json().encode()
        unknown = [] if is_current else _not_yet_published(pointer, publication)
        if metric is not None:
            prepare_hot(client, tables, metric, publication, unknown)
        if not is_current:
            if metric is not None:
                publish_values(client, tables, metric, publication, unknown)
            point_to(client, [publication])
    return published


def _not_yet_published(pointer: object, publication: Publication) -> list[Span]:
    """What the publications after the one that a pointer names have written; everything hot without a pointer."""
    held = Publication.from_json(pointer) if isinstance(pointer, bytes) else None
    since = held.version if held and held.version < publication.version else 0
    return [Span(start, end) for start, end, version in publication.runs if version > since]


def _published_metric(
    metric: Metric | None, publication: Publication, contracts: Mapping[str, ContractSet]
) -> Metric | None:
    """The definition that was published; None when the contracts no longer have what it names."""
    if metric is not None and metric.family == publication.family:
        return metric
    try:
        return compile_metric(publication.definition, contracts)
    except DefinitionError as error:
        log.warning("a published definition cannot be compiled any more", metric=publication.metric, error=str(error))
        return None


def clean_up(client: "redis.Redis", metric: Metric, publication: Publication, previous: Publication | None) -> None:
    """Let lapse what the publication has superseded: old hashes, sealed speed windows, an old family."""
    expire_superseded(client, metric.family, metric.windows, publication)
    expire_speed(client, metric.family, metric.windows, publication.sealed_through)
    if previous and previous.family != publication.family:
        expire_superseded(client, previous.family, WINDOWS.values(), publication)
        expire_speed(client, previous.family, WINDOWS.values(), None)


def expire_speed(client: "redis.Redis", family: str, lengths: Iterable[int], sealed_through: int | None) -> None:
    """Sealed speed windows lapse after a grace; None: all windows of the family."""
    for window_s in lengths:
        index = keys.speed_index(family, window_s)
        limit = "+inf" if sealed_through is None else f"({sealed_through}"
        sealed: list[bytes] = client.zrangebyscore(index, "-inf", limit)  # type: ignore[assignment]
        pipe = client.pipeline(transaction=False)
        for start in sealed:
            pipe.expire(keys.speed_window(family, window_s, int(start)), SPEED_GRACE_S)
        pipe.zremrangebyscore(index, "-inf", limit)
        pipe.execute()


def forget_late(client: "redis.Redis", contract: str, lane: str, sealed_through: int) -> None:
    """Late buckets below what every metric of the lane has sealed are in the batch's numbers now."""
    client.zremrangebyscore(keys.late(contract, lane), "-inf", f"({sealed_through}")


def _within(windows: Iterable[Window], spans: Iterable[Span]) -> set[Window]:
    ranges = list(spans)
    return {window for window in windows if any(span.start <= window[1] < span.end for span in ranges)}


def main(argv: Sequence[str] | None = None) -> None:
    """`publish.py [--env E]`: bring Redis to what the lake has published, as every batch does when it begins.

    Refuses beside a running batch, whose pointers it would move back.
    """
    arguments = script_arguments(main.__doc__, argv)

    def job(_: SparkSource, settings: Settings) -> bool:
        registry = registry_of(settings)
        with sole_job(settings), connect(settings) as client:
            started = time.monotonic()
            published = heal(client, LakeTables(settings.lake_uri), registry.metrics, registry.contracts)
            print(f"{len(published)} publications in force, {time.monotonic() - started:.2f} s")
        return True

    sys.exit(run_script("publish", arguments, job))


if __name__ == "__main__":
    main()
