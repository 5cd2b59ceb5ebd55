"""How much Redis and folders hold: what growth is measured by."""

from contextlib import suppress
from pathlib import Path

import redis

from tidemark.keys import speed_pattern


def held_partials(client: redis.Redis) -> int:
    """Partials in all speed windows."""
    with client.pipeline(transaction=False) as pipe:
        for key in client.scan_iter(speed_pattern(), count=1000):
            pipe.hlen(key)
        return sum(pipe.execute())


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder, also while a stream tidies it up."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total
