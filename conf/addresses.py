"""Addresses of servers: checked by whoever will parse them later, so that a command stops before it starts.

Each function gives back what it was given. ValueError otherwise, without the address: it may hold a password.
"""

import re
from urllib.parse import urlsplit

from pydantic import HttpUrl, TypeAdapter, ValidationError

_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
_METADATA_SCHEME = re.compile(r"(sqlite|postgresql)(\+[a-z0-9_]+)?://")
_BROKER = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_MOST_PORT = 65_535


def redis_address(url: str) -> str:
    """A URL of redis-py, options included."""
    from redis.connection import parse_url

    if not url.startswith(_REDIS_SCHEMES):
        raise ValueError(f"must start with {', '.join(_REDIS_SCHEMES[:-1])} or {_REDIS_SCHEMES[-1]}")
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise ValueError("must be a URL such as redis://host:6379/0; its port or an option cannot be read") from None
    return url


def metadata_address(url: str) -> str:
    """A SQLAlchemy URL of a database that is supported; it is read like any URL, no library of that name is needed."""
    try:
        parts = urlsplit(url)
        if _METADATA_SCHEME.match(url) and (parts.port is None or parts.hostname):
            return url
    except ValueError:
        pass  # of the port, or of the brackets of an IPv6 host
    raise ValueError("must be a SQLAlchemy URL such as sqlite:///file.db or postgresql://host/name")


def broker_addresses(listed: str) -> str:
    """`host:port[,host:port]`, the form that Kafka's Java client takes."""
    for broker in listed.split(","):
        found = _BROKER.fullmatch(broker.strip())
        if found is None or int(found[1]) > _MOST_PORT:
            raise ValueError(f"must be host:port[,host:port]; {broker.strip()!r} is not")
    return listed


def http_address(url: str) -> str:
    """An http or https URL."""
    try:
        TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError:
        raise ValueError("must be a URL such as http://host:4566") from None
    return url
