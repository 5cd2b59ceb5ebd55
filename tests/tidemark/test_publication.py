"""Publications: who wrote which granule, and the record itself."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidemark.progress import Progress
from tidemark.publication import Publication, Run, overwrite_runs
from tidemark.windows import Span

SPANS = st.lists(st.builds(Span, st.integers(0, 30), st.integers(0, 30)), max_size=5)


@given(st.lists(SPANS, max_size=6))
def test_runs_say_for_each_granule_who_wrote_it_last(publications: list[list[Span]]) -> None:
    runs: tuple[Run, ...] = ()
    naive: dict[int, int] = {}
    for version, spans in enumerate(publications, 1):
        runs = overwrite_runs(runs, spans, version)
        naive.update({granule: version for span in spans for granule in range(span.start, span.end)})
    publication = published(runs=runs)
    assert {granule: publication.version_of(granule) for granule in range(-1, 31)} == {
        granule: naive.get(granule) for granule in range(-1, 31)
    }
    assert all(start < end for start, end, _ in runs)
    for (_, end, version), (start, _, next_version) in pairwise(runs):
        assert end < start or (end == start and version != next_version), "neighbours of one version are one run"


def published(**changes: Any) -> Publication:
    fields: dict[str, Any] = {
        "metric": "m", "family": "m@0", "version": 3, "sealed_through": 3600, "gold_version": 7, "silver_version": None,
        "gate": "passed", "published_at": 1.5, "hot_from": 0, "runs": ((0, 1800, 1), (1800, 3600, 3)),
        "definition": {"name": "m", "sql": "SELECT 'ü'"},
    }  # fmt: skip
    return Publication(**{**fields, **changes})


def test_a_publication_survives_its_json() -> None:
    publication = published()
    assert Publication.from_json(publication.to_json()) == publication
    assert Publication.from_json(publication.to_json().encode()) == publication


def test_a_record_of_another_release_is_read_by_what_is_known() -> None:
    fields = json.loads(published().to_json())
    del fields["kept_from"]
    assert Publication.from_json(json.dumps({**fields, "of_a_newer_release": 1})) == published()


def test_what_was_deleted_of_a_range_lies_below_what_is_kept() -> None:
    publication = published(kept_from=1800)
    assert publication.expired_in(Span(600, 2400)) == Span(600, 1800)
    assert publication.expired_in(Span(0, 600)) == Span(0, 600)
    assert publication.expired_in(Span(1800, 2400)).is_empty
    assert published().expired_in(Span(0, 600)).is_empty


def test_runs_of_a_range_are_clipped_so_that_equal_data_has_equal_runs() -> None:
    publication = published()
    assert publication.runs_in(Span(600, 2400)) == ((600, 1800, 1), (1800, 2400, 3))
    assert publication.runs_in(Span(3600, 7200)) == ()


def test_progress_survives_its_json() -> None:
    progress = Progress(2, 5, 10.5, 600, 700.25, {"files": ["a"]}, {"m@0": None, "n@1": 600}, {"received": 3})
    assert Progress.from_json(progress.to_json()) == progress
    assert Progress.from_json(Progress(1, 0, 1.0).to_json().encode()) == Progress(1, 0, 1.0)
