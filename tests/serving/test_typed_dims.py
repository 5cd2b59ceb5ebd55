"""Filters on dimensions that are no texts, over both layers and both stores."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packs import SHIPPED
from tests.serving.stage import Stage, ask, at, instant
from tests.serving.test_problems import check_problem
from tidemark.metrics.compiler import compile_metric

SEEN = "1767225600000001"
"""Microseconds of 2026-01-01T00:00:00.000001Z."""


@pytest.fixture(params=["lake", "redis", "speed"])
def stage(request: pytest.FixtureRequest, stage: Stage, tmp_path: Path) -> Stage:
    """One group in the first window of the day, in one of the places that an answer reads."""
    text = dict(stage.metric.source_text)
    text["sql"] = (
        "SELECT device_id, access_count AS bucket, timestamp AS seen, COUNT(*) AS n FROM access "
        "GROUP BY device_id, access_count, timestamp"
    )
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "device_access.yaml").write_text(yaml.safe_dump(text))
    stage.settings = stage.settings.model_copy(update={"definitions": str(tmp_path)})
    stage.metric = compile_metric(text, SHIPPED.contracts)
    partials = {600: {(at("00:00"), f"dev-1|7|{SEEN}"): (3,)}}
    if request.param == "speed":
        stage.seal({}, at("00:00"))
        stage.stream(partials)
    else:
        stage.seal(partials, at("01:00"), hot_from=at("00:00") if request.param == "redis" else None)
    return stage


@pytest.mark.parametrize(
    ("dim", "counts"),
    [
        ("bucket:7", [3]), ("bucket:8", []), ("bucket:9223372036854775807", []), ("bucket:-9223372036854775808", []),
        ("seen:2026-01-01T00:00:00.000001Z", [3]), ("seen:0001-01-01T00:00:00Z", []),
        ("seen:9999-12-31T23:59:59.999999Z", []),
    ],
)  # fmt: skip
def test_one_of_several_dimensions_is_filtered_by(stage: Stage, dim: str, counts: list[int]) -> None:
    reply = ask(stage.shared_api(), dim=dim)
    assert reply.status_code == 200, reply.text
    assert [point["values"]["n"] for point in reply.json()["points"]] == counts


@pytest.mark.parametrize("number", ["99999999999999999999", "9223372036854775808", "-9223372036854775809"])
@pytest.mark.parametrize("more", [[], ["device_id:dev-1", "seen:2026-01-01T00:00:00Z"]], ids=["some", "all"])
def test_a_number_that_no_column_holds_is_a_bad_request(stage: Stage, number: str, more: list[Any]) -> None:
    reply = ask(stage.shared_api(), dim=[f"bucket:{number}", *more], to=instant("00:30"))
    problem = check_problem(reply, 400, "bad-parameter", "dim")
    assert "bucket" in problem["detail"]
