"""The parameters of a question, as text, checked against the metric → the domain's Query. The same for API and CLI."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tidemark.errors import QueryError, UserError
from tidemark.merge import Query, base_window, check_dims
from tidemark.metrics.model import Metric
from tidemark.windows import Span, parse_instant, widen, window_seconds

PARAMETERS = ("window", "from", "to", "dim", "group_by", "top", "order_by", "strict")
REPEATED = ("dim", "group_by")
TOP_LIMIT = 100_000
_END_OF_TIME = 253_402_300_799
"""9999-12-31T23:59:59Z: the last second that ISO 8601 in four digits can name."""
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was asked. `check` makes it a Query of one definition of the metric."""

    metric: str
    window: str
    from_: str
    to: str
    dims: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    top: str | None = None
    order_by: str | None = None
    strict: bool = False

    @classmethod
    def of(cls, metric: str, pairs: Iterable[tuple[str, str]]) -> "Asked":
        """From the (name, value) pairs of a query string. QueryError names what is unknown, repeated or absent."""
        given: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in PARAMETERS:
                raise QueryError(name, f"unknown parameter; known: {', '.join(PARAMETERS)}")
            given.setdefault(name, []).append(value)
        for name, values in given.items():
            if len(values) > 1 and name not in REPEATED:
                raise QueryError(name, "given more than once")
        for name in ("window", "from", "to"):
            if name not in given:
                raise QueryError(name, "required")
        single = {name: values[0] for name, values in given.items()}
        return cls(
            metric,
            single["window"],
            single["from"],
            single["to"],
            tuple(given.get("dim", ())),
            tuple(given.get("group_by", ())),
            single.get("top"),
            single.get("order_by"),
            _boolean("strict", single.get("strict", "false")),
        )

    def check(self, metric: Metric) -> Query:
        """The Query; QueryError names the parameter that cannot be used."""
        window_s = _window(metric, self.window)
        group_by = tuple(dict.fromkeys(self.group_by))
        filters = check_dims(metric, _pairs(self.dims), group_by)
        _check_text(filters.values())
        top, order_by = _top(self.top), _order(metric, self.order_by, self.top is not None)
        span = _span(self.from_, self.to, window_s)
        return Query(self.metric, window_s, span, filters, group_by, top, order_by, self.strict)


def _window(metric: Metric, name: str) -> int:
    try:
        window_s = window_seconds(name)
    except UserError as error:
        raise QueryError("window", str(error)) from None
    base_window(metric, window_s)
    return window_s


@lru_cache(maxsize=1_024)
def _span(from_: str, to: str, window_s: int) -> Span:
    """Kept, because all who look at the same hours ask for them in the same words."""
    start, end = _instant("from", from_), _instant("to", to)
    if end <= start:
        raise QueryError("to", "must be after `from`")
    span = widen(Span(start, end), window_s)  # type: ignore[arg-type]  # fractions of a second are widened away
    if span.end > _END_OF_TIME:
        raise QueryError("to", "is beyond the end of the calendar")
    return span


def _instant(name: str, text: str) -> float:
    try:
        return parse_instant(text, name).timestamp()
    except UserError as error:
        hint = " (in a URL, write + as %2B)" if " " in text else ""
        raise QueryError(name, str(error).removeprefix(f"{name}: ") + hint) from None


def _pairs(dims: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in dims:
        name, colon, value = text.partition(":")
        if not colon or not name:
            raise QueryError("dim", f"{text!r} is not of the form name:value")
        if pairs.setdefault(name, value) != value:
            raise QueryError("dim", f"{name} is given two values")
    return pairs


def _check_text(values: Iterable[str]) -> None:
    for value in values:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise QueryError("dim", "a value is not valid Unicode") from None


def _top(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= TOP_LIMIT):
        raise QueryError("top", f"{text!r} is not a whole number from 1 to {TOP_LIMIT}")
    return int(text)


def _order(metric: Metric, text: str | None, by_default: bool) -> str | None:
    """The measure to rank groups by, descending after a `-`. Without one, `top` ranks by the first, descending."""
    if text is None:
        if not by_default:
            return None
        text = f"-{metric.outputs[0].name}"
    name = text.removeprefix("-")
    output = next((output for output in metric.outputs if output.name == name), None)
    if output is None:
        known = ", ".join(output.name for output in metric.outputs)
        raise QueryError("order_by", f"{metric.name} has no measure {name!r}; it has {known}")
    if output.type == "string":
        raise QueryError("order_by", f"{name} is a text; groups are ranked by numbers")
    return text


def _boolean(name: str, text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise QueryError(name, f"{text!r} is not true or false") from None
