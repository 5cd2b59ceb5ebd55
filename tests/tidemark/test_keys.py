"""Names of what is stored: distinct, versioned, and never confused with data."""

import inspect

from tidemark import keys
from tidemark.dims import encode_dims


def test_every_redis_key_of_ours_starts_with_the_format_and_differs_from_the_others() -> None:
    built = [
        keys.speed_window("f@1", 600, 0), keys.speed_index("f@1", 600), keys.batch_window("f@1", 600, 0, 1),
        keys.batch_index("f@1", 600), keys.publication("m"), keys.progress("c", "exact"), keys.alive("c", "exact"),
        keys.epoch("c", "exact"), keys.fence("c", "exact"), keys.step("c", "exact"),
        keys.late("c", "exact"), keys.accepted("c"),
    ]  # fmt: skip
    assert len(set(built)) == len(built)
    assert all(key.startswith(f"{keys.FORMAT}:") for key in built)
    assert keys.kpi("dev-1", "10min") == "kpi:dev-1:10min"
    assert keys.kpi_basis("dev-1", "10min") == "tm1:kpi-basis:dev-1:10min"


def test_no_dims_key_looks_like_the_sentinel() -> None:
    for texts in ([], [None], [""], ["#"], ["#", None]):
        assert not encode_dims(texts).startswith(keys.SENTINEL)


def test_lake_tables_differ_and_a_trailing_slash_changes_nothing() -> None:
    names = [name for name, _ in inspect.getmembers(keys.LakeTables) if not name.startswith("_") and name != "root"]
    assert len(names) >= 8

    def uris(root: str) -> list[str]:
        tables = keys.LakeTables(root)
        members = [getattr(tables, name) for name in names]
        return [member("c") if callable(member) else member for member in members]

    assert uris("s3://bucket/lake/") == uris("s3://bucket/lake")
    assert len(set(uris("lake"))) == len(names)
    assert keys.checkpoint("x/", "access", "lake") == "x/access/lake"
