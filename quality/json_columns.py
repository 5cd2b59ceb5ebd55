"""How a record's JSON text is read in Spark: wrapped, so that whatever follows or precedes the one value is noticed.

`{"n":[RAW,{"<seal>":true}]}` must give an array of exactly two with the seal in the second. The seal is drawn per
process: a record that brings its own brackets cannot forge it. Trap: `from_json` gives partial results, keeps the
first good value of a repeated key whose last is bad, and turns any JSON value into a string when a string is wanted.
"""

import secrets

from pyspark.sql import Column
from pyspark.sql import functions as F

from quality.json_limits import (
    FOREIGN_ESCAPE,
    MAX_DEPTH,
    MAX_NUMBER_CHARS,
    SURROGATE,
    SURROGATE_PAIR,
)
from tidemark.contracts import VERSION_FIELD, Contract, Field

SEAL = f"~{secrets.token_hex(8)}"
SEALED = f'{{"{SEAL}":true}}'
_OPTIONS = {
    "mode": "PERMISSIVE",
    "columnNameOfCorruptRecord": "~corrupt",
    "allowComments": "false",
    "allowUnquotedFieldNames": "false",
    "allowSingleQuotes": "false",
    "allowNumericLeadingZeros": "false",
    "allowNonNumericNumbers": "false",
    "allowBackslashEscapingAnyCharacter": "false",
    "allowUnquotedControlChars": "false",
    "maxNestingDepth": str(MAX_DEPTH + 2),
    "maxNumLen": str(MAX_NUMBER_CHARS),
}
_PARSED_AS = {"timestamp": "STRING", "decimal": "VARIANT"}


def read_json(text: Column, element_type: str) -> Column:
    """STRUCT<n: ARRAY<element_type>, `~corrupt`: STRING> of the wrapped text; null for null."""
    wrapped = F.concat(F.lit('{"n":['), text, F.lit(f",{SEALED}]}}"))
    return F.from_json(wrapped, f"n ARRAY<{element_type}>, `~corrupt` STRING", _OPTIONS)


def event_of(parsed: Column) -> Column:
    """The event inside what `read_json` gave; null when there is none."""
    return F.get(parsed["n"], F.lit(0))


def is_sound(parsed: Column) -> Column:
    """Whether the text was one well-formed object and every field read had its type."""
    sealed = F.get(parsed["n"], F.lit(1))[SEAL]
    sound = parsed["~corrupt"].isNull() & (F.size(parsed["n"]) == 2) & sealed & event_of(parsed).isNotNull()
    return F.coalesce(sound, F.lit(False))


def event_type(contract: Contract, leaf: str | None = None, composite: str | None = None) -> str:
    """DDL of the event, its version and the seal; `leaf` replaces the types of scalars, `composite` those of maps."""
    fields = [_ddl(field, leaf, composite) for field in contract.fields if field.name != VERSION_FIELD]
    return f"STRUCT<{', '.join(fields)}, `{VERSION_FIELD}`: {leaf or 'BIGINT'}, `{SEAL}`: BOOLEAN>"


def _ddl(field: Field, leaf: str | None, composite: str | None) -> str:
    if field.type.kind == "struct":
        return f"`{field.name}`: STRUCT<{', '.join(_ddl(child, leaf, composite) for child in field.fields)}>"
    if field.type.kind.startswith("map"):
        return f"`{field.name}`: {composite or field.spark_type}"
    return f"`{field.name}`: {leaf or _PARSED_AS.get(field.type.kind, field.spark_type)}"


def has_lone_surrogate(text: Column) -> Column:
    """Whether an escape names half a surrogate pair: text that no UTF-8 can hold."""
    singles = F.regexp_replace(_without_backslash_pairs(text), SURROGATE_PAIR, " ")
    return (F.contains(text, F.lit("\\ud")) | F.contains(text, F.lit("\\uD"))) & singles.rlike(SURROGATE)


def has_foreign_escape(text: Column) -> Column:
    """Whether a `\\u` escape has a digit outside ASCII, which Java would accept."""
    return F.contains(text, F.lit("\\u")) & _without_backslash_pairs(text).rlike(FOREIGN_ESCAPE)


def last_entries(values: Column) -> Column:
    """Entries of a map that JSON gave, the last of a repeated key only, as an array of (key, value)."""

    def is_last(entry: Column, at: Column) -> Column:
        return ~F.array_contains(F.slice(F.map_keys(values), at + 2, F.size(values)), entry["key"])

    return F.filter(F.map_entries(values), is_last)


def _without_backslash_pairs(text: Column) -> Column:
    return F.replace(text, F.lit("\\\\"), F.lit(" "))
