"""Where things are stored: absolute local paths, or URIs of an object store."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

REMOTE_SCHEMES = ("s3", "s3a")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):/")


def storage_uri(location: str) -> str:
    """`location` without a trailing slash: an absolute path (also for `file://`), or an `s3://`/`s3a://` URI.

    Spark, pyarrow and delta-rs disagree about `file://` and relative paths; absolute paths mean the same to all.
    Raises ValueError for another scheme, a `file://` on another host, or an object store's URI without a bucket.
    """
    found = _SCHEME.match(location)
    if found is None:
        return os.path.abspath(Path(location).expanduser())
    scheme, parts = found[1].lower(), urlsplit(location)
    if scheme == "file" and parts.netloc in ("", "localhost"):
        return os.path.abspath(unquote(parts.path))
    if scheme in REMOTE_SCHEMES and parts.netloc:
        return location.rstrip("/")
    raise ValueError(f"{location!r} is neither a path nor file:///…, s3://bucket/… or s3a://bucket/…")


def is_remote(location: str) -> bool:
    """Whether a location of `storage_uri` is in an object store."""
    return location.startswith(tuple(f"{scheme}://" for scheme in REMOTE_SCHEMES))
