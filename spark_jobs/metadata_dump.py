"""The metadata database in and out of one file: SQLite by its own online backup, PostgreSQL by pg_dump and pg_restore.

Both are consistent while the database is in use. The password of a URL goes through the environment, never through a
command line that other users of the machine can read.
"""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from tidemark.errors import Fault

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
_TIMEOUT_S = 3600


def dump_metadata(url: str, target: Path) -> str | None:
    """Write the database to a file that does not exist yet; its kind, None when there is no database yet."""
    if kind_of(url) == POSTGRESQL:
        _run("pg_dump", url, "--format=custom", "--no-owner", f"--file={target}")
        return POSTGRESQL
    source = sqlite_file(url)
    if source is None or not source.exists():
        return None
    _copy_sqlite(source, target)
    return SQLITE


def restore_metadata(url: str, source: Path, kind: str) -> None:
    """Fill an empty database from a file of `dump_metadata`."""
    if kind != kind_of(url):
        raise Fault(f"metadata: the backup holds a {kind} database, TIDEMARK_METADATA_URL names another kind")
    if kind == POSTGRESQL:
        _run("pg_restore", url, "--no-owner", "--single-transaction", "--exit-on-error", str(source))
        return
    target = sqlite_file(url)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.draft")
        draft.unlink(missing_ok=True)
        _copy_sqlite(source, draft)
        os.replace(draft, target)


def holds_metadata(url: str) -> bool:
    """Whether the database of a URL has anything in it."""
    if kind_of(url) == POSTGRESQL:
        return _run("psql", url, "--no-psqlrc", "--tuples-only", "--no-align", f"--command={_TABLES}").strip() != "0"
    file = sqlite_file(url)
    return file is not None and file.exists()


def drop_metadata(url: str) -> None:
    """Empty the database: what a restore that was told to replace it does first."""
    if kind_of(url) == POSTGRESQL:
        _run("psql", url, "--no-psqlrc", "--quiet", "--command=DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return
    file = sqlite_file(url)
    for suffix in ("", "-wal", "-shm", "-journal"):
        if file is not None:
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def kind_of(url: str) -> str:
    return POSTGRESQL if url.startswith(POSTGRESQL) else SQLITE


def sqlite_file(url: str) -> Path | None:
    """The file of `sqlite:///path`; None for a database in memory."""
    path = url.split("://", 1)[1].split("?", 1)[0].removeprefix("/")
    return Path(path) if path and path != ":memory:" else None


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        uri = f"{source.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as reader, closing(sqlite3.connect(target)) as writer:
            reader.backup(writer)
    except sqlite3.Error as error:
        raise Fault(f"metadata: cannot copy {source.name}: {error}") from error


def _run(tool: str, url: str, *arguments: str) -> str:
    """What a PostgreSQL client printed. Fault, one line, when it is missing or fails."""
    binary = shutil.which(tool)
    if binary is None:
        raise Fault(f"metadata: {tool} is missing: install the PostgreSQL client (apt-get install postgresql-client)")
    address, password = without_password(url)
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    done = subprocess.run(
        [binary, f"--dbname={address}", *arguments],
        capture_output=True, text=True, check=False, env=environment, timeout=_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise Fault(f"metadata: {tool} failed: {' '.join(done.stderr.split())[:300]}")
    return done.stdout


def without_password(url: str) -> tuple[str, str | None]:
    """A SQLAlchemy URL as libpq reads it (no driver, no password), and the password."""
    parts = urlsplit(url)
    account, at, host = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    address = urlunsplit((POSTGRESQL, f"{user}{at}{host}", parts.path, parts.query, ""))
    return address, unquote(password) or None
