"""The typed columns of a contract's events as Spark has them, and frames brought to that shape."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spark_jobs.delta_log import AddedFile
from tidemark.contracts import ContractSet
from tidemark.fields import Field

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

ARRIVAL = ("received_at", "source", "source_partition", "source_offset")
"""Orders arrivals: the first of two events with one id wins."""
ARRIVAL_DDL = "`received_at` TIMESTAMP, `source` STRING, `source_partition` INT, `source_offset` BIGINT"


def fields_ddl(contracts: ContractSet) -> str:
    """Every column of the contract, of its newest type."""
    return ", ".join(f"`{field.name}` {field.spark_type}" for field in contracts.columns)


def read_files(spark: "SparkSession", table_uri: str, files: Sequence[AddedFile], ddl: str) -> "DataFrame":
    """Data files of a Delta table with the given columns; NULL where a file is older than the column.

    Only right for files whose rows are all alive: tables that are appended to, without deletion vectors.
    """
    return spark.read.schema(ddl).option("basePath", table_uri).parquet(*(file.uri for file in files))


def with_event_columns(df: "DataFrame", contracts: ContractSet) -> "DataFrame":
    """The contract's columns, each of its newest type; NULL where the table is older than the field."""
    have: StructType = df.schema
    return df.select(*(_column(field, have).alias(field.name) for field in contracts.columns))


def _column(field: Field, have: "StructType", parent: str = "") -> "Column":
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructType

    path = f"{parent}`{field.name}`"
    if field.name not in have.fieldNames():
        return F.lit(None).cast(field.spark_type)
    inner = have[field.name].dataType
    if not field.fields or not isinstance(inner, StructType):
        return F.col(path).cast(field.spark_type)
    children = [_column(child, inner, f"{path}.").alias(child.name) for child in field.fields]
    return F.when(F.col(path).isNotNull(), F.struct(*children))
