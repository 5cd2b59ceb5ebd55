"""The coefficients of the capacity plan: `capacity.toml`, one table each with unit, basis, source and date."""

import tomllib
from pathlib import Path
from typing import Any

from conf.settings import PACKAGED
from tidemark.capacity import Coefficient
from tidemark.errors import SettingsError

FILE = PACKAGED / "capacity.toml"


def load_coefficients(file: Path = FILE) -> dict[str, Coefficient]:
    """name → coefficient. SettingsError, one line, for a file that cannot be used."""
    try:
        tables: dict[str, dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))
        return {name: _coefficient(name, table) for name, table in tables.items()}
    except (OSError, TypeError, ValueError) as error:
        raise SettingsError(f"{file.name}: {' '.join(str(error).split())}") from None


def _coefficient(name: str, table: dict[str, Any]) -> Coefficient:
    date = table.pop("date", None)
    found = Coefficient(name=name, date=None if date is None else date.isoformat(), **table)
    if found.basis == "measured" and found.date is None:
        raise ValueError(f"{name}: a measurement has a date")
    if found.basis not in ("measured", "documented", "reasoned"):
        raise ValueError(f"{name}: basis {found.basis!r} is none of measured, documented, reasoned")
    return found
