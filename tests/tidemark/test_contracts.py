# ruff: noqa: E501
"""Contracts are read strictly: what could be misunderstood is refused, by file and place."""

from pathlib import Path

import pytest

from tidemark.contracts import load_contracts, parse_duration, read_contract
from tidemark.errors import ContractError
from tidemark.patterns import common_pattern, compiled

PACKAGED = Path(__file__).resolve().parents[2] / "conf" / "contracts"


def contract(**changes: object) -> dict[str, object]:
    """A small contract; a change to None leaves the key out."""
    fields = {
        "id": {"type": "string", "required": True},
        "at": {"type": "timestamp", "required": True},
        "n": {"type": "long"},
    }
    given = {
        "name": "c",
        "version": 1,
        "event_time": "at",
        "late_after": "90s",
        "key": "id",
        "dedupe": "id",
        "fields": fields,
    }
    return {key: value for key, value in {**given, **changes}.items() if value is not None}


def with_field(**spec: object) -> dict[str, object]:
    given = contract()
    given["fields"] = {**given["fields"], "f": spec}  # type: ignore[dict-item]
    return given


def test_the_packs_ship_their_contracts() -> None:
    loaded = load_contracts([PACKAGED])
    assert list(loaded) == ["access", "clickstream", "orders", "telemetry"]
    access = loaded["access"].newest
    assert (access.late_after_s, access.key, access.dedupe, access.tenant) == (
        600,
        "device_id",
        "event_id",
        "tenant_id",
    )
    assert access.field("user_id").pii == "pseudonymise"
    assert [str(field.type) for field in loaded["telemetry"].newest.fields][3:] == ["struct", "struct"]
    assert {field.name for field in loaded["clickstream"].columns if field.pii} == {"user_id", "ip_address"}


def test_a_tenant_outside_the_fields_is_an_optional_string() -> None:
    field = read_contract(contract(tenant="shop"), "x").field("shop")
    assert (str(field.type), field.required) == ("string", False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "must be a mapping"),
        (contract(colour="red"), "unknown key 'colour'"),
        (contract(key=None), "key is missing"),
        (contract(name="Access"), "name 'Access'"),
        (contract(version=0), "version must be"),
        (contract(version=True), "version must be"),
        (contract(late_after="soon"), "late_after: 'soon'"),
        (contract(event_time="n"), "event_time: 'n' is not a field of type timestamp"),
        (contract(dedupe="nothing"), "dedupe: 'nothing'"),
        (contract(key=["id"]), "key must be the name"),
        (with_field(type="int"), "type 'int' is none of"),
        (with_field(type="decimal(19,2)"), "decimal(p,s) needs"),
        (with_field(type="string", required="yes"), "required must be"),
        (with_field(type="long", rules={"length": [1, 2]}), "rule 'length' does not apply to long"),
        (with_field(type="long", rules={"between": [1.5, 2]}), "1.5 is not a long"),
        (with_field(type="long", rules={"between": [2, 1]}), "admits nothing"),
        (with_field(type="double", rules={"between": [float("nan"), 1]}), "is not a double"),
        (with_field(type="decimal(4,2)", rules={"between": ["0.001", None]}), "is not a decimal(4,2)"),
        (with_field(type="string", rules={"in": ["DE", False]}), "False is not a string (quote words"),
        (with_field(type="string", rules={"longer": 1}), "unknown key 'longer'"),
        (with_field(type="long", pii="pseudonymise"), "pii can only be"),
        (with_field(type="struct"), "a struct needs `fields`"),
        (with_field(type="struct", fields={"s": {"type": "struct", "fields": {"a": {"type": "long"}}}}), "structs do not nest"),
    ],
)  # fmt: skip
def test_what_could_be_misunderstood_is_refused(given: object, message: str) -> None:
    with pytest.raises(ContractError, match=r"^file: ") as refused:
        read_contract(given, "file")
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["raw", "Reasons", "event_date", "a b", "ID", ""])
def test_a_field_cannot_take_the_name_of_another_column(name: str) -> None:
    given = contract()
    given["fields"] = {**given["fields"], name: {"type": "string"}}  # type: ignore[dict-item]
    with pytest.raises(ContractError):
        read_contract(given, "file")


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def text(version: int, fields: str) -> str:
    return (
        f"name: c\nversion: {version}\nevent_time: at\nlate_after: 1 hour\nkey: id\ndedupe: id\nfields:\n"
        "  id: {type: string, required: true}\n  at: {type: timestamp, required: true}\n" + fields
    )


def test_versions_stand_side_by_side_and_older_types_widen(tmp_path: Path) -> None:
    write(tmp_path, "1", text(1, "  n: {type: long, required: true}\n  gone: {type: string, required: true}\n"))
    write(tmp_path, "2", text(2, "  n: {type: double, required: true}\n  fresh: {type: boolean, required: true}\n"))
    loaded = load_contracts([tmp_path])["c"]
    assert loaded.newest.version == 2
    assert [(f.name, str(f.type), f.required) for f in loaded.columns[2:]] == [
        ("n", "double", True), ("fresh", "boolean", False), ("gone", "string", False),
    ]  # fmt: skip


def test_a_type_that_does_not_widen_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1", text(1, "  n: {type: double}\n"))
    write(tmp_path, "2", text(2, "  n: {type: long}\n"))
    with pytest.raises(ContractError, match=r"field 'n' \(long\) does not widen"):
        load_contracts([tmp_path])


def test_the_same_version_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1", text(1, "  n: {type: long}\n"))
    write(tmp_path, "2", text(1, "  n: {type: long}\n"))
    with pytest.raises(ContractError, match=r"version 1 of 'c' is already in"):
        load_contracts([tmp_path])


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1", text(1, "  n: {type: long}\n  n: {type: string}\n"))
    with pytest.raises(ContractError, match="key 'n' is given twice"):
        load_contracts([tmp_path])


@pytest.mark.parametrize(("given", "seconds"), [("10 minutes", 600), ("90s", 90), ("1 hour", 3600), ("10m", 600), ("2d", 172_800)])  # fmt: skip
def test_durations_are_read(given: str, seconds: int) -> None:
    assert parse_duration(given, "x") == seconds


@pytest.mark.parametrize(
    "pattern",
    [r"(?i)a", r"(?=a)", r"(?<n>a)", r"(a)\1", r"a*+", r"a*?", r"(ab)*", r"(a|b)+", r"(a){1,500}", r"[a-z&&[b]]", r"[[a]", r"\p{L}",
     r"\bword", r"a$b", r"a^b", r"{3}", r"a{,3}", r"*a", r"[z-a]", r"(a", r"a)", r"[\d-z]", r"\Q.\E", r"a**", r"\u0041"],
)  # fmt: skip
def test_a_pattern_that_java_and_python_may_read_differently_is_refused(pattern: str) -> None:
    with pytest.raises(ContractError):
        common_pattern(pattern, "x")


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"^[A-Za-z0-9_.:-]{1,64}$", "dev-1", "dev 1"),
        (r"[A-Z]{2}(-\d{1,3})?", "AB-12", "AB-٣"),
        (r"a|bc", "bc", "ac"),
        (r"^.*$", "a\nb", None),
        (r"\$\w+", "$é"[:1] + "e", "$é"),
        (r"[^x]+", "日本", "x"),
        (r"(?:[a-z]{1,10}\.){1,5}[a-z]{2}", "www.example.de", "example"),
        (r"^ends\$$", "ends$", "ends"),
    ],
)
def test_a_pattern_always_matches_the_whole_text(pattern: str, good: str, bad: str | None) -> None:
    matches = compiled(common_pattern(pattern, "x")).fullmatch
    assert matches(good)
    assert bad is None or not matches(bad)
    assert not matches(f"{good}\n") or pattern in ("^.*$", "[^x]+")
