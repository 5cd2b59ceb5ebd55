"""The exact check: every reason why a record breaks its contract, for the few that the quick check did not pass.

It reads the text again, each value once as a string (its text) and once as a variant (its JSON type), and reports a
value whose two readings disagree as of the wrong type: that happens only where a key is repeated. Lambdas stand for
local variables, so that nothing is parsed twice. The session must have spark.sql.variant.allowDuplicateKeys on, as ours
has: without it a repeated key inside an object throws the reader off the rest of the record.
"""

from collections.abc import Callable, Iterator

from pyspark.sql import Column
from pyspark.sql import functions as F

from quality.fast_check import instant, is_future, keeps_rules, typed_value
from quality.json_columns import SEALED, event_of, event_type, has_foreign_escape, last_entries, read_json
from quality.json_limits import DECIMAL, MAX_DECIMAL_DIGITS
from tidemark.contracts import VERSION_FIELD, Contract, ContractSet, Field

MALFORMED = "record:malformed_json"
NOT_AN_OBJECT = "record:not_an_object"
UNKNOWN_VERSION = "version:unknown"

_NUMBER_TEXT = r'\A(?:-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|"-?Infinity")\z'
_COMPOSITES = ("struct", "map<string,string>")

Codes = Iterator[tuple[str, Column]]


def exact_reasons(
    contract: Contract, versions: ContractSet, typed: Column, text: Column, received_at: Column
) -> Column:
    """array<string> of the reasons of one record that is text, sorted; `typed` is its event as first read."""
    known = [version.version for version in versions.versions]

    def of_object(read: Column) -> Column:
        strings, variants = read["strings"], read["variants"]
        version = strings[VERSION_FIELD]
        misread = ~_is_integer(version, variants[VERSION_FIELD]) | ~version.try_cast("bigint").isin(*known)
        unknown = version.isNotNull() & F.coalesce(misread, F.lit(True))
        codes = sorted(_event_codes(contract, strings, variants, read["composites"], typed, received_at))
        broken = F.array_compact(F.array(*(F.when(condition, F.lit(code)) for code, condition in codes)))
        return F.when(unknown, F.array(F.lit(UNKNOWN_VERSION))).otherwise(broken)

    read = F.struct(
        event_of(read_json(text, event_type(contract, leaf="STRING", composite="STRING"))).alias("strings"),
        event_of(read_json(text, event_type(contract, leaf="VARIANT", composite="MAP<STRING,VARIANT>"))).alias(
            "variants"
        ),
        event_of(read_json(text, _composites_type(contract))).alias("composites"),
    )
    malformed = ~_let(read_json(text, "STRING"), _is_well_formed) | has_foreign_escape(text)
    return (
        F.when(malformed, F.array(F.lit(MALFORMED)))
        .when(~text.rlike(r"\A[ \t\n\r]*\{"), F.array(F.lit(NOT_AN_OBJECT)))
        .otherwise(_let(read, of_object))
    )


def _let(value: Column, body: Callable[[Column], Column]) -> Column:
    return F.get(F.transform(F.array(value), body), F.lit(0))


def _is_well_formed(parsed: Column) -> Column:
    sealed = F.get(parsed["n"], F.lit(1)).eqNullSafe(F.lit(SEALED))
    return F.coalesce(parsed["~corrupt"].isNull() & (F.size(parsed["n"]) == 2) & sealed, F.lit(False))


def _composites_type(contract: Contract) -> str:
    names = [field.name for field in contract.fields if field.type.kind in _COMPOSITES] or [VERSION_FIELD]
    return f"STRUCT<{', '.join(f'`{name}`: VARIANT' for name in names)}>"


def _composite_text(variant: Column) -> Column:
    """`{` for an object, another text for another value, null for null."""
    kind = _kind(variant)
    return F.when(kind.startswith("OBJECT"), F.lit("{")).when(~kind.isin("", "VOID"), F.lit("other"))


def _event_codes(
    contract: Contract, strings: Column, variants: Column, composites: Column, typed: Column, received_at: Column
) -> Codes:
    for field in contract.fields:
        own = field.type.kind in _COMPOSITES
        text = _composite_text(composites[field.name]) if own else strings[field.name]
        children = strings[field.name] if field.type.kind == "struct" else None
        yield from _field_codes(field, field.name, text, variants[field.name], typed[field.name], children)
    name = contract.event_time
    is_text = _is_string(strings[name], variants[name])
    yield f"{name}:future", is_text & F.coalesce(is_future(instant(strings[name]), received_at), F.lit(False))


def _field_codes(
    field: Field, path: str, text: Column, variant: Column, typed: Column, children: Column | None
) -> Codes:
    """(reason, condition) of one field; `children` are the texts of a struct's fields."""
    if field.required:
        yield f"{path}:missing", text.isNull()
    present = text.isNotNull()
    has_type = F.coalesce(_has_type(field, text, variant), F.lit(False))
    yield f"{path}:type", present & ~has_type
    sound = present & has_type
    if children is not None:
        for child in field.fields:
            inner = _field_codes(
                child, f"{path}.{child.name}", children[child.name], variant[child.name], typed[child.name], None
            )
            yield from ((code, sound & condition) for code, condition in inner)
        return
    fault = _fault(field, text, variant, typed)
    if fault is not None:
        code, condition = fault
        faulty = F.coalesce(condition, F.lit(True))
        yield f"{path}:{code}", sound & faulty
        sound = sound & ~faulty
    for rule, kept in keeps_rules(field, typed_value(field, typed)).items():
        yield f"{path}:{rule}", sound & ~F.coalesce(kept, F.lit(False))


def _fault(field: Field, text: Column, variant: Column, typed: Column) -> tuple[str, Column] | None:
    """What can be wrong with a value of the right JSON type: (code, condition)."""
    match field.type.kind:
        case "long":
            return "overflow", text.try_cast("bigint").isNull()
        case "double":
            return "not_finite", ~(F.abs(typed) < F.lit(float("inf")))
        case "timestamp":
            return "format", instant(text).isNull()
        case "decimal":
            digits = F.regexp_extract(F.try_variant_get(variant, "$", "string"), r"\A-?([0-9]+)", 1)
            return "overflow", (digits != "0") & (F.length(digits) > field.type.precision - field.type.scale)
    return None


def _kind(variant: Column) -> Column:
    return F.coalesce(F.schema_of_variant(variant), F.lit(""))


def _is_string(text: Column, variant: Column) -> Column:
    return (_kind(variant) == "STRING") & F.try_variant_get(variant, "$", "string").eqNullSafe(text)


def _is_integer(text: Column, variant: Column) -> Column:
    return (_kind(variant) != "STRING") & text.rlike(r"\A-?[0-9]+\z")


def _is_number(text: Column, variant: Column) -> Column:
    kind = _kind(variant)
    return (kind.isin("BIGINT", "DOUBLE") | kind.startswith("DECIMAL")) & text.rlike(_NUMBER_TEXT)


def _is_boolean(text: Column, variant: Column) -> Column:
    return (_kind(variant) == "BOOLEAN") & text.isin("true", "false")


def _is_decimal(field: Field, text: Column, variant: Column) -> Column:
    kind, number = _kind(variant), F.try_variant_get(variant, "$", "string")
    digits = F.length(F.regexp_replace(number, r"\A[-0.]+|\.", ""))
    fraction = F.length(F.regexp_replace(F.regexp_extract(number, r"\.([0-9]+)\z", 1), r"0+\z", ""))
    plain = (kind.startswith("DECIMAL") | kind.isin("BIGINT", "STRING")) & number.rlike(rf"\A{DECIMAL}\z")
    written = F.length(F.regexp_extract(number, r"\.([0-9]+)\z", 1))
    exact = (written <= MAX_DECIMAL_DIGITS) & (digits <= MAX_DECIMAL_DIGITS) & (fraction <= field.type.scale)
    return plain & exact & ~text.rlike(r"\A[\[{]")


def _has_type(field: Field, text: Column, variant: Column) -> Column:
    if field.type.kind == "decimal":
        return _is_decimal(field, text, variant)
    return _HAS_TYPE[field.type.kind](text, variant)


def _is_map(text: Column, values: Column) -> Column:
    def of_string(entry: Column) -> Column:
        return entry["value"].isNull() | _kind(entry["value"]).isin("STRING", "VOID")

    return (text == "{") & values.isNotNull() & F.forall(last_entries(values), of_string)


def _is_struct(text: Column, variants: Column) -> Column:
    return (text == "{") & variants.isNotNull()


_HAS_TYPE: dict[str, Callable[[Column, Column], Column]] = {
    "string": _is_string,
    "timestamp": _is_string,
    "long": _is_integer,
    "double": _is_number,
    "boolean": _is_boolean,
    "map<string,string>": _is_map,
    "struct": _is_struct,
}
