"""Verdicts on bronze rows: what silver does not have yet is new, the rest is a duplicate or a conflict.

Rule for one id arriving twice: the first arrival wins. With the same payload the other is a duplicate, with another
payload a conflict. Arrival order is (received_at, source, source_partition, source_offset); an event that is in silver
arrived before all that are not.

Few ids come twice, so only those suspected of it are sorted and joined: an id is a suspect when its 64-bit hash occurs
twice in the range or once in silver. Two ids of one hash suspect each other in vain, which costs a sort and no truth.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_jobs.event_columns import ARRIVAL
from tidemark.contracts import ContractSet

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NEW, DUPLICATE, CONFLICT = "new", "duplicate", "conflict"
"""Verdicts on a bronze row."""
_ID_HASH = "@id_hash"


@dataclass(frozen=True, slots=True)
class Classified:
    """Bronze rows with `payload_hash`. `unsuspected`: all of them new; `judged`: the suspects, each with `verdict`."""

    unsuspected: "DataFrame"
    judged: "DataFrame"

    def new_rows(self) -> "DataFrame":
        """One row per id that silver gains."""
        return self.unsuspected.unionByName(self.judged.where(f"verdict = '{NEW}'").drop("verdict"))


def suspect_ids(bronze: "DataFrame", known: "DataFrame | None", contracts: ContractSet) -> "DataFrame":
    """One row per hash of an id that may not be new. `known`: (known_id, known_hash) of every event in silver."""
    from pyspark.sql import functions as F

    arrived = bronze.select(_hash_of(contracts.newest.dedupe))
    repeated = arrived.groupBy(_ID_HASH).agg(F.count(F.lit(1)).alias("n")).where("n > 1").select(_ID_HASH)
    if known is None:
        return repeated
    # In this direction, so that a small range is sent to all of silver and not the other way round.
    in_silver = known.select(_hash_of("known_id")).join(arrived, _ID_HASH, "left_semi")
    return repeated.union(in_silver).distinct()


def classify(
    bronze: "DataFrame", known: "DataFrame | None", suspects: "DataFrame", contracts: ContractSet
) -> Classified:
    """Judge a range of bronze. `suspects`: of `suspect_ids`, persisted, for it is read three times."""
    dedupe, digest = contracts.newest.dedupe, payload_hash(contracts).alias("payload_hash")
    rows = bronze.select("*", _hash_of(dedupe))
    if known is not None:
        known = known.select("*", _hash_of("known_id")).join(suspects, _ID_HASH, "left_semi").drop(_ID_HASH)
    suspected, unsuspected = (
        rows.join(suspects, _ID_HASH, how).drop(_ID_HASH).select("*", digest) for how in ("left_semi", "left_anti")
    )
    return Classified(unsuspected, _judge(suspected, known, dedupe))


def _judge(rows: "DataFrame", known: "DataFrame | None", dedupe: str) -> "DataFrame":
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    arrivals = Window.partitionBy(dedupe).orderBy(*ARRIVAL)
    rows = rows.withColumn("place", F.row_number().over(arrivals))
    rows = rows.withColumn("first_hash", F.first("payload_hash").over(arrivals))
    if known is None:
        rows = rows.withColumn("known_hash", F.lit(None).cast("string"))
    else:
        rows = rows.join(known, F.col(dedupe) == F.col("known_id"), "left").drop("known_id")
    is_first = F.col("known_hash").isNull() & (F.col("place") == 1)
    is_same = F.col("payload_hash") == F.coalesce("known_hash", "first_hash")
    verdict = F.when(is_first, NEW).when(is_same, DUPLICATE).otherwise(CONFLICT)
    return rows.withColumn("verdict", verdict).drop("place", "first_hash", "known_hash")


def _hash_of(column: str) -> "Column":
    from pyspark.sql import functions as F

    return F.xxhash64(F.col(f"`{column}`")).alias(_ID_HASH)


def payload_hash(contracts: ContractSet) -> "Column":
    """Digest of what the contract knows of an event: unknown fields, order of keys and spaces do not make it another.

    A field that is absent and one that did not exist when the event was hashed are alike, so new versions of the
    contract leave old hashes as they are.
    """
    from pyspark.sql import functions as F

    def canonical(name: str, kind: str) -> "Column":
        value = F.col(f"`{name}`")
        if kind == "double":
            return value.cast("string").alias(name)
        return (F.array_sort(F.map_entries(value)) if kind.startswith("map") else value).alias(name)

    fields = sorted(contracts.columns, key=lambda field: field.name)
    micros = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"}
    return F.sha2(F.to_json(F.struct(*(canonical(f.name, f.type.kind) for f in fields)), micros), 256)
