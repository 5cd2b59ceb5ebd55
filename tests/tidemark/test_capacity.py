"""The capacity plan: grows with the load, keeps its units, says what it rests on."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from conf.capacity import load_coefficients
from tidemark.capacity import GIB, Load, Planner, plan
from tidemark.errors import SettingsError, UserError

COEFFICIENTS = load_coefficients()
SMALL = Load(events_per_hour=2_500_000, keys=10_000, windows=(600, 1800))

loads = st.builds(
    Load,
    events_per_hour=st.floats(1, 1e9),
    keys=st.integers(1, 10**8),
    windows=st.sets(st.sampled_from((60, 300, 600, 1800, 3600, 86400)), min_size=1, max_size=5).map(
        lambda lengths: tuple(sorted(lengths))
    ),
    metrics=st.integers(2, 50),
    sketches=st.integers(0, 1),
    event_bytes=st.floats(1, 1e5),
    peak=st.floats(1, 100),
    hot_s=st.integers(0, 30 * 86400),
)


def grown(load: Load) -> list[Load]:
    """The load with one argument larger."""
    more = next((length for length in (60, 300, 600, 1800, 3600, 86400) if length not in load.windows), None)
    larger = [
        replace(load, events_per_hour=load.events_per_hour * 1.7),
        replace(load, keys=load.keys * 3),
        replace(load, metrics=load.metrics + 1),
        replace(load, sketches=load.sketches + 1),
        replace(load, event_bytes=load.event_bytes * 2),
        replace(load, peak=load.peak * 1.3),
        replace(load, hot_s=load.hot_s + 3600),
        replace(load, late_after_s=load.late_after_s * 2),
    ]
    return larger + ([replace(load, windows=(*load.windows, more))] if more else [])


@given(loads)
def test_no_figure_shrinks_when_the_load_grows(load: Load) -> None:
    before = {figure.name: figure.value for figure in plan(load, COEFFICIENTS)}
    for larger in grown(load):
        after = {figure.name: figure.value for figure in plan(larger, COEFFICIENTS)}
        shrunk = [name for name in before if after[name] < before[name] * (1 - 1e-9)]
        assert shrunk == [], larger


@given(loads)
def test_figures_are_finite_and_whole_things_are_whole(load: Load) -> None:
    for figure in plan(load, COEFFICIENTS):
        assert math.isfinite(figure.value), figure
        assert figure.value > 0, figure
        if not figure.unit:
            assert float(figure.value).is_integer(), figure


def test_the_units_are_what_they_say() -> None:
    figures = {figure.name: figure for figure in plan(SMALL, COEFFICIENTS)}
    per_s = 2_500_000 / 3600 * 3
    assert figures["peak rate"].value == pytest.approx(per_s)
    assert figures["Kinesis shards"].value == math.ceil(per_s / 1000)
    assert figures["source per day"].value == pytest.approx(2_500_000 * 24 * 200 / GIB)
    kept_s = 86_400 + COEFFICIENTS["speed_grace_s"].value + 86_400
    partials = 10_000 * (kept_s / 600 + kept_s / 1800)
    assert figures["partials in Redis"].value == pytest.approx(partials, rel=1e-4)
    memory = partials * COEFFICIENTS["redis_bytes_per_partial"].value * COEFFICIENTS["redis_headroom"].value / GIB
    assert figures["Redis memory"].value == pytest.approx(memory, rel=1e-4)


def test_few_events_touch_few_keys() -> None:
    rare = Planner(replace(SMALL, events_per_hour=60, keys=10**6), COEFFICIENTS)
    assert rare.active_keys(600) == pytest.approx(10, rel=1e-4)
    busy = Planner(replace(SMALL, events_per_hour=1e9, keys=100), COEFFICIENTS)
    assert busy.active_keys(600) == pytest.approx(100)


def test_a_figure_is_as_firm_as_the_loosest_it_rests_on() -> None:
    basis = {figure.name: figure.basis for figure in plan(SMALL, COEFFICIENTS)}
    assert basis["Redis memory"] == "reasoned"
    assert basis["Kinesis shards"] == "documented"
    assert basis["lake growth: gold"] == "measured"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"events_per_hour": 0}, "--events-per-hour"),
        ({"events_per_hour": math.inf}, "--events-per-hour"),
        ({"keys": 0}, "--keys"),
        ({"windows": ()}, "--windows"),
        ({"windows": (600, 600)}, "--windows"),
        ({"peak": 0.5}, "--peak"),
        ({"sketches": 2}, "--sketches"),
        ({"event_bytes": math.nan}, "--event-bytes"),
    ],
)
def test_a_load_that_cannot_be_is_named(change: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=named):
        replace(SMALL, **change)


def test_every_coefficient_says_where_it_comes_from() -> None:
    for each in COEFFICIENTS.values():
        assert each.source, each.name
        assert each.value > 0, each.name
        assert each.date or each.basis != "measured", each.name
    used = {name for figure in plan(replace(SMALL, sketches=1), COEFFICIENTS) for name in figure.rests_on}
    assert used == set(COEFFICIENTS)


@pytest.mark.parametrize("text", ["[a]\nvalue = 1", "not toml", '[a]\nvalue=1\nunit=""\nbasis="measured"\nsource="s"'])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"c\.toml"):
        load_coefficients(tmp_path / "c.toml")


def test_the_command_prints_one_document_or_a_table(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["plan", "--events-per-hour", "2.5e6", "--keys", "10000", "--windows", "10m,30m"]
    assert main([*asked, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {figure["name"] for figure in document["figures"]} >= {"Kafka partitions", "Redis memory", "stream cores"}
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert "peak x (per event" in printed
    assert "redis_bytes_per_partial" in printed


@pytest.mark.parametrize("wrong", [["--windows", "7m"], ["--hot", "soon"], ["--peak", "0"], ["--keys", "0"]])
def test_a_wrong_argument_is_one_line(home: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    assert main(["plan", "--events-per-hour", "1000", "--keys", "10", *wrong]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("tidemark: ")
