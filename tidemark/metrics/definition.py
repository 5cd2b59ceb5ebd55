"""The YAML form of a metric, checked for shape; what its SQL means is the compiler's business."""

import re
from typing import Annotated, Any

from croniter import croniter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tidemark.errors import DefinitionError
from tidemark.windows import WINDOWS

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d|y)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}


def duration_seconds(text: str) -> int:
    """`24h`, `30d`, `2y` → seconds; ValueError otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 24h, 30d or 2y")
    return int(match[1]) * _UNITS[match[2]]


def _known_windows(names: list[str]) -> list[str]:
    for name in names:
        if name not in WINDOWS:
            raise ValueError(f"unknown window {name!r}; known: {', '.join(WINDOWS)}")
    longest = max(WINDOWS[name] for name in names)
    if any(longest % WINDOWS[name] for name in names) or len(set(names)) < len(names):
        raise ValueError("windows must differ, and each must divide the longest")
    return names


def _cron(text: str) -> str:
    if not croniter.is_valid(text):
        raise ValueError(f"{text!r} is not a cron expression")
    return text


def _duration(text: str) -> str:
    duration_seconds(text)
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RetentionText(_Strict):
    hot: Annotated[str, AfterValidator(_duration)] = "24h"
    warm: Annotated[str, AfterValidator(_duration)] = "30d"
    cold: Annotated[str, AfterValidator(_duration)] = "2y"


def _template(text: str) -> str:
    if not re.fullmatch(r"(?:[^{}]|\{\w+\})+", text) or text.startswith("tm"):
        raise ValueError(f"{text!r} is not a key such as agg:device:{{device_id}}:latest")
    return text


class PublishText(_Strict):
    """Redis key templates for consumers that read finished JSON themselves. Keys of our own start with tm."""

    latest: Annotated[str, AfterValidator(_template)] | None = None
    window: Annotated[str, AfterValidator(_template)] | None = None

    def placeholders(self) -> set[str]:
        """Names in braces of both templates."""
        return set(re.findall(r"\{(\w+)\}", f"{self.latest} {self.window}"))


class Definition(_Strict):
    """One metric file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    description: str = ""
    sql: str
    windows: Annotated[list[str], Field(min_length=1), AfterValidator(_known_windows)]
    schedule: Annotated[str, AfterValidator(_cron)] = "0 2 * * *"
    retention: RetentionText = RetentionText()
    category: str = "general"
    owner: str = ""
    publish: PublishText = PublishText()
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    batch_only: bool = False


def parse_definition(document: Any) -> Definition:
    """A YAML document → Definition. DefinitionError names the field in one line."""
    if not isinstance(document, dict):
        raise DefinitionError("a metric definition is a mapping with name, sql and windows")
    try:
        return Definition.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        name = document.get("name", "?")
        line = f"metric {name}: {where}: {first['msg'].removeprefix('Value error, ')}"
        raise DefinitionError(" ".join(line.split())[:500]) from None
