"""Finished values as JSON under a metric's own Redis keys (`publish:` in its definition), for apps that read Redis.

The speed layer writes them while windows are open; the batch writes them again for the windows it seals, so that an app
sees what late events changed, and lets them lapse after `retention.hot`. A document of a window that is not sealed has
no end. Of the finest declared window; `latest` never goes back to an older window.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemark.dims import decode_dims
from tidemark.metrics.final import Partial
from tidemark.metrics.model import Metric
from tidemark.partials import finalise
from tidemark.points import show_instants
from tidemark.windows import iso

LATEST = "latest"
"""Of the keys of `publish:`, the one that newer windows take over."""


@dataclass(frozen=True, slots=True)
class Document:
    """The values of one group in one window. `stamp`: the window's start, with which `text` begins, so that documents
    can be compared in Redis. `keys`: name in `publish:` → Redis key."""

    stamp: str
    keys: Mapping[str, str]
    text: str


def make_document(metric: Metric, window_s: int, start: int, dims_key: bytes, partial: Partial) -> Document:
    """The window, the dims and the values as an answer shows them."""
    dims, stamp = decode_dims(metric, dims_key), iso(start)
    values = show_instants(metric, finalise(metric, partial, window_s))
    rest = json.dumps({"window_end": iso(start + window_s), **dims, **values})
    known = {**dims, "window_start": stamp}
    names = {name: fill_template(template, known) for name, template in metric.publish.items()}
    return Document(stamp, names, f'{{"window_start":"{stamp}", {rest[1:]}')


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """`agg:{device_id}` → `agg:dev-1`. Values are put in as they are, never read as templates again; NULL is empty."""
    head, *parts = template.split("{")
    filled = [head]
    for part in parts:
        name, _, rest = part.partition("}")
        filled += ["" if values[name] is None else str(values[name]), rest]
    return "".join(filled)
