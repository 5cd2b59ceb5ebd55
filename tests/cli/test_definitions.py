"""`tidemark definitions validate`."""

import json
import re
from pathlib import Path

import pytest

from cli.main import main
from conf.settings import PACKAGED
from tidemark.contracts import load_contracts
from tidemark.errors import ContractError

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


def validated(capsys: pytest.CaptureFixture[str], *files: Path) -> tuple[int, list[str]]:
    code = main(["definitions", "validate", "--json", *map(str, files)])
    return code, json.loads(capsys.readouterr().out)["errors"]


def test_a_version_that_does_not_widen_the_older_one_is_refused_as_by_every_command(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = (PACKAGED / "contracts" / "access.yaml").read_text()
    folder = tmp_path / "more"
    (folder / "contracts").mkdir(parents=True)
    file = folder / "contracts" / "access2.yaml"
    newer = re.sub(r"access_count: .*", "access_count: {type: string}", shipped)
    file.write_text(newer.replace("version: 1", "version: 2"))
    code, errors = validated(capsys, file)
    assert (code, len(errors)) == (2, 1)
    assert "access_count" in errors[0]
    assert "does not widen" in errors[0]
    with pytest.raises(ContractError) as refused:
        load_contracts([PACKAGED / "contracts", folder / "contracts"])
    assert errors == [str(refused.value)]


def test_versions_that_are_given_together_are_held_against_each_other(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three, heat = (tmp_path / f"{name}.yaml" for name in ("one", "two", "three", "heat"))
    one.write_text(CONTRACT)
    two.write_text(CONTRACT.replace("version: 1", "version: 2").replace("kelvin: {type: double", "kelvin: {type: long"))
    three.write_text(CONTRACT.replace("version: 1", "version: 3").replace("key: place", "key: id"))
    heat.write_text(METRIC)
    for given in ([three, two, one, heat], [heat, one, two, three]):
        code, errors = validated(capsys, *given)
        assert code == 2
        assert sorted(errors) == [
            f"{three}: key differs from version 1",
            f"{two}: version 2: field 'kelvin' (long) does not widen what an older version has (kelvin: double)",
        ]


def test_an_older_version_is_held_against_the_newer_one_that_is_configured(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more" / "contracts").mkdir(parents=True)
    (tmp_path / "more" / "contracts" / "w2.yaml").write_text(CONTRACT.replace("version: 1", "version: 2"))
    monkeypatch.setenv("TIDEMARK_DEFINITIONS", str(tmp_path / "more"))
    older = tmp_path / "w1.yaml"
    older.write_text(CONTRACT.replace("kelvin: {type: double", "kelvin: {type: string"))
    code, errors = validated(capsys, older)
    assert code == 2
    assert errors == [
        f"{older} beside what is configured: version 2: field 'kelvin' (double) does not widen what an "
        "older version has (kelvin: string)"
    ]
