"""What a benchmark started ends with it."""

import signal
import subprocess
import sys
from pathlib import Path

import redis

from bench.deployment import ROOT

_RUN = """
import time
from bench.deployment import Deployment
with Deployment() as deployment:
    print(deployment.folder, deployment.redis_url, flush=True)
    time.sleep(60)
"""


def test_a_run_that_is_told_to_end_leaves_no_server_and_no_folder() -> None:
    with subprocess.Popen([sys.executable, "-c", _RUN], stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdout is not None
        folder, url = run.stdout.readline().split()
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 128 + signal.SIGTERM
    assert not Path(folder).exists()
    with redis.Redis.from_url(url) as client:
        assert _is_away(client)


def _is_away(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ConnectionError:
        return True
    return False
