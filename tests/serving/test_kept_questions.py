"""Parsed questions are kept, those of strangers in bounds."""

from serving.routers import metrics
from tests.serving.stage import Stage, at, instant

HOUR = f"window=10m&from={instant('00:00')}&to={instant('01:00')}"


def test_a_question_asked_again_is_answered_anew(stage: Stage) -> None:
    path = f"/v1/metrics/device_access?{HOUR}&dim=device_id:dev-1"
    with stage.api() as client:
        for count in (2, 3):
            stage.seal({600: {(at("00:10"), "dev-1"): (4, count)}}, at("01:00"), hot_from=at("00:00"))
            (point,) = client.get(path).json()["points"]
            assert point["values"]["total_users"] == count


def test_a_refused_question_is_refused_again(stage: Stage) -> None:
    with stage.api() as client:
        for _ in range(2):
            assert client.get(f"/v1/metrics/device_access?{HOUR}&windwo=10m").status_code == 400


def test_a_long_question_is_answered_but_not_kept(stage: Stage) -> None:
    stage.seal({600: {(at("00:10"), "dev-1"): (4, 2)}}, at("01:00"), hot_from=at("00:00"))
    kept = metrics._kept_question.cache_info().currsize
    with stage.api() as client:
        reply = client.get(f"/v1/metrics/device_access?{HOUR}&dim=device_id:{'d' * metrics.KEPT_LENGTH}")
    assert (reply.status_code, reply.json()["points"]) == (200, [])
    assert metrics._kept_question.cache_info().currsize == kept
