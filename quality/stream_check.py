"""Records → typed, masked events with the reasons why they break their contract. One row in, one row out, one pass.

Input columns: value (binary), received_at (timestamp), source (string), source_partition (int), source_offset (bigint).
No input can make the query fail: everything is tried, nothing is cast by force.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings
from quality.exact_check import MALFORMED, NOT_AN_OBJECT, UNKNOWN_VERSION, exact_reasons
from quality.fast_check import is_certainly_valid, typed_value
from quality.json_columns import event_of, event_type, has_foreign_escape, has_lone_surrogate, is_sound, read_json
from quality.json_limits import MAX_RECORD_BYTES
from quality.masking import pseudonym_column
from tidemark.contracts import PSEUDONYMISE, VERSION_FIELD, Contract, ContractSet, Field

POSITION = ("received_at", "source", "source_partition", "source_offset")
_TEXT, _FAULT, _CHOSEN = "~text", "~fault", "~version"


def event_columns(contract_set: ContractSet) -> list[str]:
    """Names of the contract's columns, in the order in which `parse_events` and the lake have them."""
    return [field.name for field in contract_set.columns]


def parse_events(records: DataFrame, contract_set: ContractSet, settings: Settings) -> DataFrame:
    """raw, raw_bytes, position, contract_version, reasons (empty = valid), then every field, typed and masked.

    `raw` is null and `raw_bytes` set where the value is not UTF-8. Fields of a row with reasons hold what could be
    read, or null. `reasons` is made from a value that the optimiser must not move, so that filters on it do not make
    Spark parse twice.
    """
    key = settings.resolve_pseudonym_key() if any(field.pii for field in contract_set.columns) else ""
    return (
        records.transform(read_text)
        .transform(lambda frame: choose_version(frame, contract_set))
        .transform(lambda frame: parse_versions(frame, contract_set))
        .transform(lambda frame: judge_events(frame, contract_set))
        .transform(lambda frame: select_events(frame, contract_set, key))
    )


def read_text(records: DataFrame) -> DataFrame:
    """The record as text, and why it cannot be one: too large, not UTF-8, half a surrogate pair."""
    value = F.coalesce(F.col("value"), F.lit(b""))
    valid = F.is_valid_utf8(value.cast("string"))
    raw = F.when(valid, value.cast("string"))
    too_large = F.octet_length(value) > MAX_RECORD_BYTES
    fault = (
        F.when(too_large, "record:too_large")
        .when(~valid, "record:not_utf8")
        .when(has_lone_surrogate(raw), "record:lone_surrogate")
    )
    parsed = records.select(*POSITION, raw.alias("raw"), F.when(~valid, value).alias("raw_bytes"), fault.alias(_FAULT))
    return parsed.withColumn(_TEXT, F.when(F.col(_FAULT).isNull(), F.col("raw")))


def choose_version(frame: DataFrame, contract_set: ContractSet) -> DataFrame:
    """The version that each record is read with: the only one, else the one it names, else the newest."""
    if len(contract_set.versions) == 1:
        return frame.withColumn(_CHOSEN, F.lit(contract_set.newest.version))
    named = event_of(read_json(F.col(_TEXT), f"STRUCT<`{VERSION_FIELD}`: BIGINT>"))[VERSION_FIELD]
    known = F.when(named.isin(*(contract.version for contract in contract_set.versions)), named.cast("int"))
    return frame.withColumn(_CHOSEN, F.coalesce(known, F.lit(contract_set.newest.version)))


def parse_versions(frame: DataFrame, contract_set: ContractSet) -> DataFrame:
    """One column per version, null where another version was chosen."""
    for contract in contract_set.versions:
        parsed = read_json(_text_of(contract, contract_set), event_type(contract))
        frame = frame.withColumn(_parsed(contract), parsed)
    return frame


def judge_events(frame: DataFrame, contract_set: ContractSet) -> DataFrame:
    """Adds `reasons` and `contract_version`, null when the record names an unknown one."""
    branches = [
        (F.col(_CHOSEN) == contract.version, _reasons(contract, contract_set)) for contract in contract_set.versions
    ]
    reasons = F.when(F.col(_FAULT).isNotNull(), F.array(F.col(_FAULT)))
    for condition, broken in branches:
        reasons = reasons.when(condition, broken)
    pinned = F.when(F.spark_partition_id() >= 0, reasons)
    judged = frame.withColumn("reasons", pinned)
    unreadable = F.arrays_overlap("reasons", F.array(*map(F.lit, (MALFORMED, NOT_AN_OBJECT, UNKNOWN_VERSION))))
    readable = F.col(_FAULT).isNull() & ~unreadable
    return judged.withColumn("contract_version", F.when(readable, F.col(_CHOSEN)))


def select_events(frame: DataFrame, contract_set: ContractSet, key: str) -> DataFrame:
    """The columns that leave, in order, typed as in the newest version."""
    fields = [_column(field, contract_set, key).alias(field.name) for field in contract_set.columns]
    return frame.select("raw", "raw_bytes", *POSITION, "contract_version", "reasons", *fields)


def _text_of(contract: Contract, contract_set: ContractSet) -> Column:
    if len(contract_set.versions) == 1:
        return F.col(_TEXT)
    return F.when(F.col(_CHOSEN) == contract.version, F.col(_TEXT))


def _parsed(contract: Contract) -> str:
    return f"~parsed{contract.version}"


def _reasons(contract: Contract, contract_set: ContractSet) -> Column:
    parsed, text = F.col(_parsed(contract)), F.col(_TEXT)
    event = event_of(parsed)
    named = event[VERSION_FIELD]
    valid = (
        is_sound(parsed)
        & ~has_foreign_escape(text)
        & (named.isNull() | (named == contract.version))
        & is_certainly_valid(contract, event, text, F.col("received_at"))
    )
    exact = exact_reasons(contract, contract_set, event, text, F.col("received_at"))
    return F.when(valid, F.array().cast("array<string>")).otherwise(exact)


def _column(field: Field, contract_set: ContractSet, key: str) -> Column:
    values = []
    for contract in contract_set.versions:
        here = next((own for own in contract.fields if own.name == field.name), None)
        if here is not None:
            value = typed_value(here, event_of(F.col(_parsed(contract)))[field.name])
            values.append(_widened(field, here, value))
    value = values[0] if len(values) == 1 else F.coalesce(*values)
    return pseudonym_column(key, value) if field.pii == PSEUDONYMISE else value


def _widened(field: Field, here: Field, value: Column) -> Column:
    if field.type.kind != "struct" or field.fields == here.fields:
        return value if field.type == here.type else value.cast(field.spark_type)
    own = {child.name: child for child in here.fields}
    children = [
        (_widened(child, own[child.name], value[child.name]) if child.name in own else F.lit(None))
        .cast(child.spark_type)
        .alias(child.name)
        for child in field.fields
    ]
    return F.when(value.isNotNull(), F.struct(*children))
