"""`tidemark definitions validate`."""

import json
from pathlib import Path

import pytest

from cli.main import main
from conf.settings import PACKAGED

METRIC = """
name: heat
description: Mean heat
sql: SELECT place, AVG(kelvin) AS mean_kelvin, COUNT(*) AS readings FROM weather GROUP BY place
windows: [10m]
schedule: "0 2 * * *"
retention: {hot: 24h, warm: 30d, cold: 2y}
category: climate
"""
CONTRACT = """
name: weather
version: 1
event_time: at
late_after: 5 minutes
key: place
dedupe: id
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  place: {type: string, required: true}
  kelvin: {type: double, required: true}
"""


def test_all_that_ships_is_valid(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["definitions", "validate", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["errors"] == []
    assert {each["name"] for each in report["contracts"]} == {"access", "telemetry", "clickstream", "orders"}
    assert len(report["metrics"]) == len(list((PACKAGED / "metrics").glob("*.yaml")))


def test_a_metric_is_explained_over_a_contract_given_with_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "heat.yaml").write_text(METRIC)
    (tmp_path / "weather.yaml").write_text(CONTRACT)
    assert main(["definitions", "validate", str(tmp_path / "heat.yaml"), str(tmp_path / "weather.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "contract weather version 1: 4 fields, late after 300 s" in shown
    assert "mean_kelvin = c0 / c1" in shown
    assert "merges by adding" in shown


def test_each_unusable_file_is_named_and_the_others_are_still_explained(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "median.yaml").write_text(METRIC.replace("AVG(kelvin)", "MEDIAN(kelvin)").replace("weather", "access"))
    good = PACKAGED / "metrics" / "device_access.yaml"
    assert (
        main(["definitions", "validate", str(tmp_path / "broken.yaml"), str(tmp_path / "median.yaml"), str(good)]) == 2
    )
    out, err = capsys.readouterr()
    assert "metric device_access over access" in out
    assert "broken.yaml: not valid YAML" in err
    assert "median.yaml: " in err
    assert err.count("\n") == 1
