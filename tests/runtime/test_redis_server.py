"""The embedded Redis: shared, surviving its starter, and never losing its data folder to a second server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from conf.settings import Settings
from runtime import redis_server
from runtime.redis_server import redis_url, stop_embedded
from tidemark.errors import ViewsUnavailable


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(env="test", home=tmp_path / "a home with spaces")
    yield settings
    stop_embedded(settings)


def _pid(settings: Settings) -> int:
    return int(json.loads((settings.home / "redis/server.json").read_text())["pid"])


def _set(url: str, key: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(key, value)


def _get(url: str, key: str) -> bytes | None:
    with redis.Redis.from_url(url) as client:
        value = client.get(key)
    assert value is None or isinstance(value, bytes)
    return value


def test_a_configured_url_starts_nothing(tmp_path: Path) -> None:
    settings = Settings(env="test", home=tmp_path / "home", redis_url="redis://elsewhere:1234/0")
    assert redis_url(settings) == "redis://elsewhere:1234/0"
    assert not settings.home.exists()
    assert not stop_embedded(settings)


def test_commands_that_start_at_once_share_one_server(owner: Settings) -> None:
    program = (
        "from conf.settings import load_settings; from runtime.redis_server import redis_url;"
        "print(redis_url(load_settings()))"
    )
    environment = {**os.environ, "TIDEMARK_HOME": str(owner.home)}

    def start(_: int) -> str:
        return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True,
                              check=True).stdout.strip()  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        urls = set(pool.map(start, range(4)))
    assert urls == {redis_url(owner)}, "and it outlives the commands that started it"


def test_data_and_address_survive_a_kill(owner: Settings) -> None:
    url = redis_url(owner)
    _set(url, "kept", "yes")
    time.sleep(1.2)  # the append-only file is synced every second
    before = _pid(owner)
    os.kill(before, signal.SIGKILL)
    assert redis_url(owner) == url
    assert _pid(owner) != before
    assert _get(url, "kept") == b"yes"


def test_data_survive_a_stop(owner: Settings) -> None:
    _set(redis_url(owner), "kept", "yes")
    assert stop_embedded(owner)
    assert not stop_embedded(owner)
    assert _get(redis_url(owner), "kept") == b"yes"


def test_a_server_that_hangs_is_not_joined_by_a_second(owner: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    redis_url(owner)
    monkeypatch.setattr(redis_server, "START_TIMEOUT_S", 0.2)
    os.kill(_pid(owner), signal.SIGSTOP)
    try:
        with pytest.raises(ViewsUnavailable, match="does not answer"):
            redis_url(owner)
    finally:
        os.kill(_pid(owner), signal.SIGCONT)


def test_a_port_taken_by_another_server_is_not_mistaken_for_ours(owner: Settings, tmp_path: Path) -> None:
    other = Settings(env="test", home=tmp_path / "other")
    _set(redis_url(other), "whose", "other")
    try:
        _set(redis_url(owner), "whose", "ours")
        stop_embedded(owner)
        file = owner.home / "redis/server.json"
        record = json.loads(file.read_text())
        record["port"] = json.loads((other.home / "redis/server.json").read_text())["port"]
        file.write_text(json.dumps(record))
        assert _get(redis_url(owner), "whose") == b"ours"
    finally:
        stop_embedded(other)


def test_only_the_owner_can_read_the_password(owner: Settings) -> None:
    redis_url(owner)
    for name in ("server.json", "redis.conf"):
        assert (owner.home / "redis" / name).stat().st_mode & 0o077 == 0


def test_without_any_server_binary_the_line_says_what_to_install(
    owner: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "server_binary", lambda: None)
    with pytest.raises(ViewsUnavailable, match="no redis-server: install it"):
        redis_url(owner)
