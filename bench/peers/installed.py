"""A peer's own environment below bench/.data/peers/<folder>, made when it is missing or its lists changed.

Python packages from requirements.txt into a venv, Java archives from jars.lock, Program.java compiled. What cannot be
had on this machine raises Unavailable with the reason: the peer is then reported as not measured.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.catalogue import Peer
from bench.traffic import DATA
from runtime.jars import bring, java_binary, read_lock
from tidemark.errors import Fault

HERE = Path(__file__).parent
_INSTALL_S = 900


class Unavailable(Exception):
    """One line: why a peer cannot be measured here."""


def install(peer: Peer) -> list[str]:
    """The command that runs the peer's program."""
    source, place = HERE / peer.folder, DATA / "peers" / peer.folder
    place.mkdir(parents=True, exist_ok=True)
    jars = _jars(source, place)
    if (source / "Program.java").exists():
        return _compiled(source, place, jars)
    python = _venv(source, place)
    if peer.folder == "bytewax":
        return [python, "-m", "bytewax.run", f"{source / 'program.py'}:flow"]
    return [python, str(source / "program.py"), *peer.arguments, *([str(jars)] if jars else [])]


def _venv(source: Path, place: Path) -> str:
    requirements, stamp = source / "requirements.txt", place / "requirements.txt"
    python = place / "venv" / "bin" / "python"
    if not stamp.exists() or stamp.read_bytes() != requirements.read_bytes():
        shutil.rmtree(place / "venv", ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place / "venv")])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--requirement", str(requirements)])
        shutil.copyfile(requirements, stamp)
    return str(python)


def _jars(source: Path, place: Path) -> Path | None:
    if not (source / "jars.lock").exists():
        return None
    try:
        bring(read_lock(source / "jars.lock"), place / "jars")
    except Fault as fault:
        raise Unavailable(str(fault)) from None
    return place / "jars"


def _compiled(source: Path, place: Path, jars: Path | None) -> list[str]:
    compiler = Path(java_binary()).with_name("javac")
    found = shutil.which(str(compiler) if compiler.parent.name else "javac")
    if found is None:
        raise Unavailable("javac is missing: a JDK, not only a Java runtime, is needed")
    _run([found, "-cp", f"{jars}/*", "-d", str(place / "classes"), str(source / "Program.java")])
    return [java_binary(), "-cp", f"{place / 'classes'}:{jars}/*", "Program"]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{Path(command[0]).name} took more than {_INSTALL_S} s") from None
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        telling = [line for line in lines if "rror" in line] or lines or [f"ended with {done.returncode}"]
        raise Unavailable(telling[0].strip()[:200])
