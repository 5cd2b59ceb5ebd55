"""What maintenance has deleted after `cold` is missing, not zero."""

from typing import Any

import pytest

from tests.serving.stage import Stage, ask, at, instant
from tidemark.windows import Span

GONE = [{"from": instant("00:00"), "to": instant("00:20"), "reason": "expired"}]


def seal(stage: Stage, *, kept_from: int | None, **more: Any) -> None:
    whole = {(at("00:00") + 600 * k, "dev-1"): (1, k + 1) for k in range(4)}
    stage.seal({600: whole}, at("01:00"), kept_from=kept_from, **more)


def expire(stage: Stage) -> None:
    """Maintenance has deleted, and the batch after it read gold anew; no granule of the range was computed again."""
    seal(stage, kept_from=at("00:20"), spans=[Span(0, 0)])


def test_a_deleted_range_is_listed_and_its_points_are_left_out(stage: Stage) -> None:
    seal(stage, kept_from=None)
    expire(stage)
    with stage.api() as client:
        document = ask(client).json()
        strict = ask(client, strict="true")
        kept = ask(client, strict="true", from_=instant("00:20"))
    assert (document["complete"], document["missing"]) == (False, GONE)
    assert [point["start"] for point in document["points"]] == [instant("00:20"), instant("00:30")]
    assert (strict.status_code, strict.json()["missing"]) == (503, GONE)
    assert (kept.status_code, kept.json()["complete"]) == (200, True)


def test_a_longer_window_that_is_deleted_in_part_has_no_point(stage: Stage) -> None:
    seal(stage, kept_from=at("00:20"))
    with stage.api() as client:
        document = ask(client, window="1h").json()
    assert (document["points"], document["missing"]) == ([], GONE)


def test_deletion_moves_the_etags_of_what_it_touches_only(stage: Stage) -> None:
    seal(stage, kept_from=None)
    with stage.api() as client:
        before, other = ask(client), ask(client, from_=instant("00:20"))
        expire(stage)
        after = client.get(before.request.url, headers={"If-None-Match": before.headers["etag"]})
        same = client.get(other.request.url, headers={"If-None-Match": other.headers["etag"]})
        again = client.get(before.request.url, headers={"If-None-Match": after.headers["etag"]})
        strict = client.get(f"{before.request.url}&strict=true", headers={"If-None-Match": after.headers["etag"]})
    assert (before.json()["complete"], len(before.json()["points"])) == (True, 4)
    assert (after.status_code, after.json()["missing"]) == (200, GONE)
    assert (same.status_code, again.status_code, strict.status_code) == (304, 304, 503)


@pytest.mark.parametrize("to", ["01:00", "01:10"])
def test_points_that_were_kept_do_not_outlive_their_deletion(stage: Stage, to: str) -> None:
    """In the same process; with and without closed windows of speed behind them."""
    stage.stream({600: {(at("01:00"), "dev-1"): (9, 9)}}, watermark=at("01:10"))
    seal(stage, kept_from=None)
    with stage.api() as client:
        before = ask(client, to=instant(to)).json()
        expire(stage)
        after = ask(client, to=instant(to)).json()
    assert len(before["points"]) - len(after["points"]) == 2
    assert after["missing"] == GONE


def test_a_device_whose_windows_are_deleted_is_not_found_in_them(stage: Stage) -> None:
    seal(stage, kept_from=at("01:00"))
    with stage.api() as client:
        assert client.get("/kpi/dev-1/10min").status_code == 404
