"""The gold table of a metric: what is written to it, and what of it is published.

A batch writes gold before it publishes. What it wrote and did not publish, because it died or its gate refused it, is
nobody's: the next batch that adds to the table begins from the version that is published.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spark_jobs.delta_log import head_version, is_written
from spark_jobs.plan import BEGINNING, MetricPlan
from tidemark.keys import LakeTables
from tidemark.windows import Span, iso

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def is_ahead(uri: str, plan: MetricPlan) -> bool:
    """Whether gold was written since the version that is published."""
    head = head_version(uri)
    return head is not None and is_written(uri, _published_version(plan), head)


def take_back(spark: "SparkSession", uri: str, plan: MetricPlan) -> None:
    """Gold as it is published, schema included: what an unpublished batch has written is nobody's, and may be of
    another definition that was taken back since."""
    if (version := _published_version(plan)) >= 0:
        spark.sql(f"RESTORE TABLE delta.`{uri}` TO VERSION AS OF {version}")


def _published_version(plan: MetricPlan) -> int:
    """-1: none of the table is published."""
    version = plan.previous.gold_version if plan.previous else None
    return -1 if version is None else version


def read_gold(spark: "SparkSession", tables: LakeTables, plan: MetricPlan, version: int) -> "DataFrame":
    """The rows that the plan's batch wrote, as they are in the lake at a version."""
    gold = spark.read.format("delta").option("versionAsOf", version).load(tables.gold(plan.metric.name))
    return gold.where(f"version = {plan.version}")


def write_gold(rows: "DataFrame", uri: str, plan: MetricPlan) -> None:
    """Replace the plan's granules in one Delta commit; the whole table when rebuilt, or when none of it is published.

    Trap: a table of which nothing is published may still be there, with the rows and columns of an older definition.
    """
    writer = rows.write.format("delta").mode("overwrite").partitionBy("window_date")
    writer = writer.option("delta.enableDeletionVectors", "false")
    if plan.rebuild or _published_version(plan) < 0:
        writer = writer.option("overwriteSchema", "true")
    else:
        writer = writer.option("replaceWhere", span_sql(plan.spans, "window_start", "window_date"))
    writer.save(uri)


def span_sql(spans: Sequence[Span], column: str, date_column: str | None = None) -> str:
    """Condition "`column` lies in one of the spans"; the partition column beside it saves reading other days."""
    return " OR ".join(f"({_one_span(span, column, date_column)})" for span in spans) or "false"


def _one_span(span: Span, column: str, date_column: str | None) -> str:
    terms = [f"`{column}` < {_timestamp(span.end)}"]
    if date_column:
        terms.append(f"`{date_column}` <= DATE'{iso(span.end - 1)[:10]}'")
    if span.start > BEGINNING:
        terms.append(f"`{column}` >= {_timestamp(span.start)}")
        terms += [f"`{date_column}` >= DATE'{iso(span.start)[:10]}'"] if date_column else []
    return " AND ".join(terms)


def _timestamp(instant: int) -> str:
    return f"TIMESTAMP'{iso(instant)}'"
