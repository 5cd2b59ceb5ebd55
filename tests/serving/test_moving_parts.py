"""Answers while things move: a batch lands, Redis hangs, Redis restarts."""

import socket
import threading
import time
from pathlib import Path

import pytest

from conf.settings import Settings
from runtime import redis_server
from tests.serving.stage import Stage, ask, at, instant
from tidemark import keys
from tidemark.windows import Span

WINDOWS = [at("00:00") + 600 * k for k in range(6)]


def publish(stage: Stage, version: int) -> None:
    """Every sealed window says which version wrote it; the hashes of the version before are gone at once."""
    partials = {600: {(start, "dev-1"): (version, version) for start in WINDOWS}}
    old = stage.published
    stage.seal(partials, at("01:00"), spans=[Span(at("00:00"), at("01:00"))], hot_from=at("00:30"))
    for start in WINDOWS if old else ():
        stage.client.delete(keys.batch_window(stage.metric.family, 600, start, version - 1))


@pytest.mark.parametrize("dim", ["device_id:dev-1", None])
def test_a_batch_that_lands_while_requests_run_never_mixes_versions(stage: Stage, dim: str | None) -> None:
    publish(stage, 1)
    done = threading.Event()
    seen: set[int] = set()
    with stage.api() as client:

        def read() -> None:
            while not done.is_set():
                document = ask(client, dim=dim).json()
                found = {point["values"]["total_users"] for point in document["points"]}
                assert found == {document["batch_version"]}, document
                assert len(document["points"]) == len(WINDOWS)
                seen.update(found)

        failures: list[BaseException] = []
        readers = [threading.Thread(target=_collect, args=(read, failures)) for _ in range(3)]
        for reader in readers:
            reader.start()
        for version in range(2, 12):
            publish(stage, version)
        done.set()
        for reader in readers:
            reader.join()
    assert not failures, failures[0]
    assert len(seen) > 2


def _collect(work: object, failures: list[BaseException]) -> None:
    try:
        work()  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001  handed to the test's own thread
        failures.append(error)


def test_a_redis_that_hangs_makes_sealed_answers_wait_a_second_at_most(stage: Stage) -> None:
    publish(stage, 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        with stage.api(redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as client:
            started = time.monotonic()
            document = ask(client, dim="device_id:dev-1").json()
            took = time.monotonic() - started
            beyond = ask(client, to=instant("02:00")).json()
    assert len(document["points"]) == 6
    assert document["complete"] is True
    assert beyond["missing"][0]["reason"] == "speed_unavailable"
    assert took < 2


def test_a_redis_that_comes_back_is_used_again(tmp_path: Path, home: Path) -> None:
    owner = Settings(env="test", home=tmp_path / "other")
    url = redis_server.redis_url(owner)
    try:
        stage = Stage(Settings(env="test", home=home, redis_url=url), url)
        with stage.closing, stage.api() as client:
            stage.stream({600: {(at("00:30"), "dev-1"): (1, 1)}})
            assert ask(client).json()["complete"] is True
            redis_server.stop_embedded(owner)
            assert ask(client).json()["missing"][0]["reason"] == "speed_unavailable"
            assert redis_server.redis_url(owner) == url
            assert ask(client).json()["points"][0]["values"]["total_users"] == 1
    finally:
        redis_server.stop_embedded(owner)
