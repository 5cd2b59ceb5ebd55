"""`tidemark doctor`: what this machine has and lacks, and the settings in force. Exit 1 when something is lacking."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from cli.output import print_json, print_table
from conf.settings import Settings, load_settings
from runtime.jars import jars_folder, java_binary, locked, missing
from runtime.redis_server import server_binary
from runtime.state_store import state_store_jar
from tidemark.errors import Fault

MIN_JAVA = 17
MIN_FREE_BYTES = 2 * 1024**3
SPARK_PAIR = {"pyspark": "4.1.1", "delta-spark": "4.2.0"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `remedy` says how to get it when it is lacking."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def command(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """What this machine has and lacks: Python, Java, Spark and its jars, Redis, disk; and the settings in force."""
    settings = load_settings()
    checks = [look(settings) for look in LOOKS]
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "settings": shown(settings)})
    else:
        print_table(map(_row, checks), ("", "name", "found", "remedy"))
        print()
        print_table(
            ({"setting": name, "value": value} for name, value in shown(settings).items()), ("setting", "value")
        )
    lacking = [check.name for check in checks if not check.ok]
    if lacking:
        raise Fault(f"this machine lacks: {', '.join(lacking)}")


def shown(settings: Settings) -> dict[str, Any]:
    """The settings in force, as far as they may be shown: no key, no password of a URL."""
    values: dict[str, Any] = {}
    for name, value in {**dict(settings), **_resolved(settings)}.items():
        if isinstance(value, SecretStr):
            values[name] = "set"
        elif isinstance(value, str):
            values[name] = re.sub(r"(://[^/@]*?:)[^/]*@", r"\1***@", value)
        else:
            values[name] = value if value is None or isinstance(value, int | float) else str(value)
    return values


def _row(check: Check) -> dict[str, str]:
    ok = "ok" if check.ok else "LACKS"
    return {"": ok, "name": check.name, "found": check.found, "remedy": "" if check.ok else check.remedy}


def _resolved(settings: Settings) -> dict[str, str]:
    return {
        "lake": settings.lake_uri,
        "checkpoints": settings.checkpoints_uri,
        "redis_url": settings.redis_url or "the embedded server",
        "metadata_url": settings.metadata_uri,
        "definitions": ", ".join(map(str, settings.definition_folders)),
    }


def _python(_: Settings) -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("python", (3, 11) <= sys.version_info < (3, 14), found, "use Python 3.11, 3.12 or 3.13")


def _java(_: Settings) -> Check:
    remedy = f"install Java {MIN_JAVA} or newer (apt-get install openjdk-17-jre-headless), or set JAVA_HOME"
    try:
        said = subprocess.run(
            [java_binary(), "-version"], capture_output=True, text=True, timeout=30, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return Check("java", False, "none", remedy)
    number = re.search(r'version "(\d+)([^"]*)', said)
    found = "".join(number.groups()) if number else "unreadable"
    return Check("java", number is not None and int(number[1]) >= MIN_JAVA, found, remedy)


def _spark(_: Settings) -> Check:
    found = {name: _installed(name) for name in SPARK_PAIR}
    return Check(
        "spark",
        found == SPARK_PAIR,
        ", ".join(f"{name} {number or 'none'}" for name, number in found.items()),
        "run `make setup`: exactly " + " with ".join(f"{name} {number}" for name, number in SPARK_PAIR.items()),
    )


def _jars(_: Settings) -> Check:
    lacking = missing("spark")
    found = f"{len(locked('spark')) - len(lacking)} of {len(locked('spark'))} in {jars_folder('spark')}"
    return Check("spark jars", not lacking, found, "run `make setup` (python -m runtime.jars)")


def _state_store(_: Settings) -> Check:
    compiled = state_store_jar().is_file() if _installed("pyspark") else False
    found = "compiled" if compiled else "Spark's own: a stream of many ids is slower"
    return Check("state store", compiled, found, "run `make setup` (python -m runtime.state_store)")


def _redis(settings: Settings) -> Check:
    if settings.redis_url:
        return Check("redis", True, "an external server is configured")
    binary = server_binary()
    return Check("redis", binary is not None, binary or "none", "install redis-server, or set TIDEMARK_REDIS_URL")


def _disk(settings: Settings) -> Check:
    existing = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return Check("disk", free >= MIN_FREE_BYTES, f"{free / 1024**3:.1f} GiB free below {existing}", "free 2 GiB")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


LOOKS: tuple[Callable[[Settings], Check], ...] = (_python, _java, _spark, _jars, _state_store, _redis, _disk)
