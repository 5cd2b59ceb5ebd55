"""A real PostgreSQL server of the tests' own, on a free port, ended by its process id. None where none is installed."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

PASSWORD = "s3cr:t/p@ss"
USER = "tide"
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def postgres_bin() -> Path | None:
    """Folder of `initdb` and `postgres`."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    for pattern in _PLACES:
        folders += sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


class PostgresServer:
    """One cluster in `folder`. As root it runs as `postgres`, for the server refuses root."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self._bin = folder, binaries
        self._owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True)
        secret = self.folder / "password"
        secret.write_text(f"{PASSWORD}\n")
        if self._owner is not None:
            for path in (self.folder, secret):
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        data = self.folder / "data"
        options = ("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--no-sync")
        self._run([str(self._bin / "initdb"), f"--pgdata={data}", *options]).wait(120)
        options = (
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self.folder}",
            "-c",
            "fsync=off",
        )
        self._process = self._run([str(self._bin / "postgres"), "-D", str(data), "-p", str(self.port), *options])
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, "the PostgreSQL server has ended"
            assert time.monotonic() < deadline, "the PostgreSQL server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def url(self, database: str) -> str:
        """As SQLAlchemy writes it."""
        return f"postgresql+psycopg://{USER}:s3cr%3At%2Fp%40ss@127.0.0.1:{self.port}/{database}"

    def sql(self, database: str, statement: str) -> str:
        command = [shutil.which("psql") or "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run(
            [*command, "-XAtc", statement], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _answers(self) -> bool:
        try:
            return self.sql("postgres", "SELECT 1") == "1"
        except subprocess.CalledProcessError:
            return False

    def _run(self, command: list[str]) -> "subprocess.Popen[bytes]":
        who = (
            {} if self._owner is None else {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        )
        return subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)  # type: ignore[call-overload,no-any-return]
