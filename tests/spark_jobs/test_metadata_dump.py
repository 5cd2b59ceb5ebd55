"""The metadata out of a real database and into another one."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from spark_jobs.metadata_dump import (
    drop_metadata,
    dump_metadata,
    holds_metadata,
    restore_metadata,
    sqlite_file,
    without_password,
)
from tests.postgres_server import PASSWORD, PostgresServer, postgres_bin
from tidemark.errors import Fault


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """In a folder of its own: pytest's are closed to the account that the server runs as."""
    binaries = postgres_bin()
    if binaries is None:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="tidemark-postgres-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "cluster", binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_postgresql_goes_through_a_file(postgres: PostgresServer, tmp_path: Path) -> None:
    for database in ("first", "second"):
        postgres.sql("postgres", f"CREATE DATABASE {database}")
    assert not holds_metadata(postgres.url("first"))
    postgres.sql("first", "CREATE TABLE users (name TEXT PRIMARY KEY); INSERT INTO users VALUES ('ä'), ('kept')")
    assert dump_metadata(postgres.url("first"), tmp_path / "dump") == "postgresql"
    assert holds_metadata(postgres.url("first"))
    restore_metadata(postgres.url("second"), tmp_path / "dump", "postgresql")
    assert postgres.sql("second", "SELECT string_agg(name, ',' ORDER BY name) FROM users") == "kept,ä"
    with pytest.raises(Fault, match="pg_restore failed") as failure:
        restore_metadata(postgres.url("second"), tmp_path / "dump", "postgresql")
    assert "\n" not in str(failure.value)
    drop_metadata(postgres.url("second"))
    assert not holds_metadata(postgres.url("second"))
    restore_metadata(postgres.url("second"), tmp_path / "dump", "postgresql")
    assert postgres.sql("second", "SELECT count(*) FROM users") == "2"


def test_a_server_that_is_away_is_one_line_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="pg_dump") as failure:
        dump_metadata(f"postgresql://tide:{quote(PASSWORD, safe='')}@127.0.0.1:1/none", tmp_path / "dump")
    assert "\n" not in str(failure.value)
    assert "s3cr" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        ("postgresql://h/db", "postgresql://h/db", None),
        ("postgresql+psycopg://u:p%40x@h:5/db?sslmode=require", "postgresql://u@h:5/db?sslmode=require", "p@x"),
        ("postgresql://u@h/db", "postgresql://u@h/db", None),
    ],
)
def test_a_url_is_parted_from_its_password(url: str, address: str, password: str | None) -> None:
    assert without_password(url) == (address, password)


def test_the_file_of_a_sqlite_url() -> None:
    assert sqlite_file("sqlite:////var/lib/m.db") == Path("/var/lib/m.db")
    assert sqlite_file("sqlite:///m.db") == Path("m.db")
    assert sqlite_file("sqlite+pysqlite:///m.db?timeout=5") == Path("m.db")
    assert sqlite_file("sqlite://") is None
    assert sqlite_file("sqlite:///:memory:") is None


def test_another_kind_of_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="another kind"):
        restore_metadata(f"sqlite:///{tmp_path}/m.db", tmp_path / "dump", "postgresql")
