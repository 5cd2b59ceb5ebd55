# ruff: noqa: E501  (the oracle is a table: one expression a line)
"""Plain Python's value of every expression that a metric can be made of, over a small literal set of events."""

import math
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.tidemark.definitions import FIELDS
from tidemark.windows import to_micros

Event = dict[str, Any]
BASE = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = 'it\'s \\ "ü" 😀 ${x} %_'
TOP, BOTTOM = 2**63 - 1, -(2**63)


def event(g: str, i: int, **values: Any) -> Event:
    empty = dict.fromkeys(FIELDS)
    required = {
        "id": f"{g}{i}",
        "at": BASE + timedelta(microseconds=i),
        "device": f"d{i % 7}",
        "steps": i,
        "volts": i / 3,
    }
    return {"g": g, **empty, **required, **values}


def many(i: int) -> Event:
    amount, kind = (i * 7919) % 1000 - 500, ("a", "b", None, " A2 ", "")[i % 5]
    return event(
        "many", i, kind=kind, site=i % 4 - 2 if i % 3 else None, active=(True, False, None)[i % 3],
        seen=BASE - timedelta(seconds=i) if i % 2 else None, amount=amount if i % 6 else None,
        watts=1e6 + amount / 7 if i % 4 else None, price=Decimal(amount * 12345).scaleb(-4) if i % 5 else None,
        whole=Decimal(amount) if i % 5 else None, meta={"firmware": "x", "load": i / 7 if i % 2 else None} if i % 3 else None,
        props={"x": ("1.5", "NaN", "Infinity", "-2e3", "word", "1e999")[i % 6]} if i % 2 else None,
    )  # fmt: skip


EVENTS = [
    *(many(i) for i in range(120)),
    event("one", 1, kind="a", site=-1, active=True, seen=BASE, amount=-7, watts=-0.25, price=Decimal("-0.0001"),
          whole=Decimal(-3), props={"x": "7"}, meta={"firmware": "ü", "load": 2.5}),
    *(event("nulls", i) for i in range(2)),
    *(event("text", i, kind=kind) for i, kind in enumerate((TEXT, "a_c", "abc", "a%c", "a\\c", "line\nend"))),
    *(event("extremes", i, amount=amount, watts=watts, price=price, whole=whole, site=site, seen=seen)
      for i, (amount, watts, price, whole, site, seen) in enumerate([
          (TOP, 1.7e308, Decimal("99999999999999.9999"), Decimal(10**10 - 1), TOP, datetime(1900, 1, 1, tzinfo=UTC)),
          (TOP, 1e-300, Decimal("-99999999999999.9999"), Decimal(1 - 10**10), BOTTOM, datetime(9999, 12, 31, tzinfo=UTC)),
          (BOTTOM, -1.7e308, Decimal("0.0001"), Decimal(0), 0, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
          (TOP - 1, 5.0, None, None, None, None),
      ])),
]  # fmt: skip


def long(value: Any) -> Any:
    return value if value is not None and BOTTOM <= value <= TOP else None


def finite(value: Any) -> Any:
    return value if value is not None and math.isfinite(value) else None


def number(text: Any) -> Any:
    try:
        return finite(float(text))
    except (TypeError, ValueError):
        return None


def strict(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: None if None in values else function(*values)


def present(events: list[Event], read: Callable[[Event], Any] | str) -> list[Any]:
    values = [event[read] if isinstance(read, str) else read(event) for event in events]
    return [value for value in values if value is not None]


def total(values: list[Any]) -> Any:
    if not values:
        return None
    return finite(math.fsum(values)) if isinstance(values[0], float) else sum(values)


def average(values: list[Any]) -> Any:
    return float(total(values) / len(values)) if values and total(values) is not None else None


def spread(values: list[Any], function: Callable[[Any], Any], least: int) -> Any:
    return None if len(values) < least else float(function([Decimal(value) for value in values]))


def quantile(values: list[Any], rank: float) -> Any:
    """The least value with at least that share of the values at or below it."""
    return sorted(values)[max(math.ceil(rank * len(values)) - 1, 0)] if values else None


def load(e: Event) -> Any:
    return e["meta"]["load"] if e["meta"] else None


def prop(e: Event) -> Any:
    return number(e["props"]["x"]) if e["props"] else None


def micros(values: list[datetime]) -> list[int]:
    return [to_micros(value) for value in values]


def greater(*values: Any) -> Any:
    return max((value for value in values if value is not None), default=None)


def less(*values: Any) -> Any:
    return min((value for value in values if value is not None), default=None)


def remainder(a: int, b: int) -> int:
    return int(math.fmod(a, b)) if abs(a) < 2**53 else (abs(a) % b) * (1 if a >= 0 else -1)


def n(events: list[Event], read: Callable[[Event], Any] | str) -> int:
    return len(present(events, read))


def s(events: list[Event]) -> Any:
    return total(present(events, "amount"))


def w(events: list[Event]) -> Any:
    return total(present(events, "watts"))


ORACLE: dict[str, Callable[[list[Event]], Any]] = {
    "COUNT(*)": len,
    "COUNT(kind)": lambda r: n(r, "kind"),
    "COUNT(props)": lambda r: n(r, "props"),
    "COUNT(steps IN (1, NULL))": lambda r: sum(e["steps"] == 1 for e in r),
    "COUNT_IF(NULL)": lambda r: 0,
    "COUNT(*) FILTER (WHERE NULL)": lambda r: 0,
    "CASE WHEN NULL THEN 1 ELSE COUNT(*) END": len,
    "COUNT_IF(amount > 3)": lambda r: sum(v > 3 for v in present(r, "amount")),
    "COUNT_IF(amount > 3) FILTER (WHERE active)": lambda r: sum(v > 3 for v in present([e for e in r if e["active"]], "amount")),
    "SUM(amount)": s,
    "SUM(watts)": w,
    "SUM(price)": lambda r: None if not present(r, "price") else float(sum(present(r, "price"))),
    "SUM(whole)": lambda r: None if not present(r, "whole") else int(sum(present(r, "whole"))),
    "SUM(NULL)": lambda _: None,
    "MIN(amount)": lambda r: min(present(r, "amount"), default=None),
    "MAX(amount)": lambda r: max(present(r, "amount"), default=None),
    "MIN(watts)": lambda r: min(present(r, "watts"), default=None),
    "MAX(watts) FILTER (WHERE kind = 'a')": lambda r: max(present([e for e in r if e["kind"] == "a"], "watts"), default=None),
    "MIN(watts * 1e10)": lambda r: min(present(r, lambda e: finite(strict(lambda v: v * 1e10)(e["watts"]))), default=None),
    "MAX(price)": lambda r: strict(float)(max(present(r, "price"), default=None)),
    "MIN(whole)": lambda r: strict(int)(min(present(r, "whole"), default=None)),
    "MAX(at)": lambda r: max(micros(present(r, "at"))),
    "MIN(seen)": lambda r: min(micros(present(r, "seen")), default=None),
    "MAX(seen)": lambda r: max(micros(present(r, "seen")), default=None),
    "AVG(amount)": lambda r: average(present(r, "amount")),
    "AVG(steps)": lambda r: average(present(r, "steps")),
    "AVG(watts)": lambda r: average(present(r, "watts")),
    "AVG(price)": lambda r: average(present(r, "price")),
    "AVG(meta.load)": lambda r: average(present(r, load)),
    "AVG(amount) FILTER (WHERE NOT active)": lambda r: average(present([e for e in r if e["active"] is False], "amount")),
    "STDDEV(watts)": lambda r: spread(present(r, "watts"), statistics.stdev, 2),
    "STDDEV_SAMP(amount)": lambda r: spread(present(r, "amount"), statistics.stdev, 2),
    "STDDEV_POP(amount)": lambda r: spread(present(r, "amount"), statistics.pstdev, 1),
    "VARIANCE(price)": lambda r: spread(present(r, "price"), statistics.variance, 2),
    "VAR_SAMP(volts)": lambda r: spread(present(r, "volts"), statistics.variance, 2),
    "VAR_POP(watts)": lambda r: spread(present(r, "watts"), statistics.pvariance, 1),
    "APPROX_COUNT_DISTINCT(device)": lambda r: len(set(present(r, "device"))),
    "APPROX_COUNT_DISTINCT(amount)": lambda r: len(set(present(r, "amount"))),
    "APPROX_COUNT_DISTINCT(kind) FILTER (WHERE active)": lambda r: len(set(present([e for e in r if e["active"]], "kind"))),
    "APPROX_PERCENTILE(amount, 0.5)": lambda r: quantile(present(r, "amount"), 0.5),
    "APPROX_PERCENTILE(steps, 0.25)": lambda r: quantile(present(r, "steps"), 0.25),
    "APPROX_PERCENTILE(steps, 0)": lambda r: quantile(present(r, "steps"), 0),
    "APPROX_PERCENTILE(steps, 1)": lambda r: quantile(present(r, "steps"), 1),
    "PERCENTILE_APPROX(watts, 0.95)": lambda r: quantile(present(r, "watts"), 0.95),
    "SUM(CAST(props['x'] AS DOUBLE))": lambda r: total(present(r, prop)),
    "MAX(CAST(props['x'] AS DOUBLE))": lambda r: max(present(r, prop), default=None),
    "VAR_POP(CAST(props['x'] AS DOUBLE))": lambda r: spread(present(r, prop), statistics.pvariance, 1),
    "PERCENTILE_APPROX(CAST(props['x'] AS DOUBLE), 1)": lambda r: quantile(present(r, prop), 1),
    "SUM(CAST(props['x'] AS BIGINT))": lambda r: total(present(r, lambda e: 7 if e["g"] == "one" else None)),
    "SUM(CASE WHEN kind = 'a' THEN amount ELSE 0 END)": lambda r: total(present(r, lambda e: e["amount"] if e["kind"] == "a" else 0)),
    "SUM(CASE kind WHEN 'a' THEN 1 WHEN 'b' THEN 2.5 END)": lambda r: total(present(r, lambda e: {"a": 1.0, "b": 2.5}.get(e["kind"]))),
    "SUM(IF(active, 1, NULL))": lambda r: total(present(r, lambda e: 1 if e["active"] else None)),
    "SUM(COALESCE(site, steps, 0))": lambda r: total(present(r, lambda e: e["steps"] if e["site"] is None else e["site"])),
    "SUM(GREATEST(amount, 1) - LEAST(site, steps))": lambda r: total(present(r, lambda e: long(greater(e["amount"], 1) - less(e["site"], e["steps"])))),
    "SUM(NULLIF(amount, 0) * -2 % 7)": lambda r: total(present(r, lambda e: None if not e["amount"] or long(e["amount"] * -2) is None else remainder(e["amount"] * -2, 7))),
    "SUM(amount + steps)": lambda r: total(present(r, lambda e: long(strict(lambda a: a + e["steps"])(e["amount"])))),
    "SUM(-amount)": lambda r: total(present(r, lambda e: long(strict(lambda a: -a)(e["amount"])))),
    "MAX(ABS(amount))": lambda r: max(present(r, lambda e: long(strict(abs)(e["amount"]))), default=None),
    "SUM(steps / (steps - 1))": lambda r: total(present(r, lambda e: None if e["steps"] == 1 else e["steps"] / (e["steps"] - 1))),
    "SUM(steps % (steps - 1))": lambda r: total(present(r, lambda e: None if e["steps"] == 1 else int(math.fmod(e["steps"], e["steps"] - 1)))),
    "SUM(ABS(-volts) % 2.5 + 1e-3 - 1E+2)": lambda r: total(present(r, lambda e: math.fmod(e["volts"], 2.5) + 1e-3 - 100)),
    "COUNT_IF(LOWER(TRIM(kind)) LIKE 'a%' AND NOT UPPER(device) IN ('D1', 'D2'))": lambda r: sum(e["kind"].strip(" ").lower().startswith("a") and e["device"] not in ("d1", "d2") for e in r if e["kind"] is not None),
    "COUNT_IF(amount BETWEEN 1 AND 5 OR amount IS NULL OR kind IS NOT NULL)": lambda r: sum(e["amount"] is None or 1 <= e["amount"] <= 5 or e["kind"] is not None for e in r),
    "COUNT_IF(amount <=> site OR FALSE)": lambda r: sum(e["amount"] == e["site"] for e in r),
    "COUNT_IF(amount <> 3 AND steps >= 2 AND steps <= 90 AND volts < 20)": lambda r: sum(e["amount"] not in (None, 3) and 2 <= e["steps"] <= 90 and e["volts"] < 20 for e in r),
    "COUNT_IF(kind = 'it\\'s \\\\ \"ü\" 😀 ${x} %_')": lambda r: sum(e["kind"] == TEXT for e in r),
    "COUNT_IF(kind LIKE 'a\\\\_c')": lambda r: sum(e["kind"] == "a_c" for e in r),
    "COUNT_IF(kind LIKE 'a_c')": lambda r: sum(e["kind"] in ("a_c", "abc", "a%c", "a\\c") for e in r),
    "COUNT_IF(kind LIKE 'a\\\\\\\\c')": lambda r: sum(e["kind"] == "a\\c" for e in r),
    "COUNT_IF(kind LIKE '%end')": lambda r: sum((e["kind"] or "").endswith("end") for e in r),
    "COUNT_IF(seen < at)": lambda r: sum(v < e["at"] for e in r if (v := e["seen"])),
    # Over aggregates.
    "AVG(watts) * WINDOW_HOURS()": lambda r: strict(lambda a: a / 6)(average(present(r, "watts"))),
    "SUM(amount) / COUNT(*)": lambda r: strict(lambda a: a / len(r))(s(r)),
    "SUM(steps) / COUNT(kind)": lambda r: sum(e["steps"] for e in r) / n(r, "kind") if n(r, "kind") else None,
    "COUNT(*) + 2 * COUNT(kind) - COUNT(*) % 3": lambda r: len(r) + 2 * n(r, "kind") - len(r) % 3,
    "MIN(amount) - 1": lambda r: long(strict(lambda a: a - 1)(min(present(r, "amount"), default=None))),
    "MAX(amount) + 1": lambda r: long(strict(lambda a: a + 1)(max(present(r, "amount"), default=None))),
    "MAX(amount) * -3 % 7": lambda r: strict(lambda a: remainder(a * -3, 7) if long(a * -3) else None)(max(present(r, "amount"), default=None)),
    "-COUNT(*)": lambda r: -len(r),
    "ABS(MIN(amount))": lambda r: long(strict(abs)(min(present(r, "amount"), default=None))),
    "MAX(volts) + 0.5": lambda r: max(present(r, "volts")) + 0.5,
    "ABS(MIN(volts) - 5) - 0.5": lambda r: abs(min(present(r, "volts")) - 5) - 0.5,
    "MAX(volts) % 0.4": lambda r: math.fmod(max(present(r, "volts")), 0.4),
    "ROUND(AVG(steps), 2)": lambda r: float(round(Decimal(repr(average(present(r, "steps")))), 2)),
    "ROUND(MIN(watts), 15)": lambda r: min(present(r, "watts"), default=None),
    "ROUND(COUNT(*) / 8, 1)": lambda r: math.floor(len(r) / 8 * 10 + 0.5) / 10,
    "ROUND(COUNT(*), 2)": len,
    "SQRT(MIN(watts))": lambda r: strict(lambda a: math.sqrt(a) if a >= 0 else None)(min(present(r, "watts"), default=None)),
    "CASE WHEN COUNT(*) > 3 AND NOT (COUNT(kind) = 0 OR COUNT(*) <> 6) THEN 'six' ELSE 'it''s' END".replace("''", "\\'"): lambda r: "six" if len(r) == 6 else "it's",
    "CASE COUNT(*) WHEN 1 THEN TRUE END": lambda r: True if len(r) == 1 else None,
    "IF(MIN(amount) IS NULL, 0, 1.5)": lambda r: 1.5 if present(r, "amount") else 0.0,
    "COALESCE(MIN(amount), 0)": lambda r: min(present(r, "amount"), default=0),
    "NULLIF(COUNT(*), 2)": lambda r: None if len(r) == 2 else len(r),
    "GREATEST(COUNT(*), 1.5)": lambda r: max(float(len(r)), 1.5),
    "GREATEST(MIN(amount), -3)": lambda r: greater(min(present(r, "amount"), default=None), -3),
    "LEAST(MIN(at), MAX(seen))": lambda r: less(min(micros(present(r, "at"))), max(micros(present(r, "seen")), default=None)),
    "CAST(AVG(volts) AS BIGINT)": lambda r: int(average(present(r, "volts"))),
    "CAST(MAX(watts) AS BIGINT)": lambda r: long(strict(int)(max(present(r, "watts"), default=None))),
    "CAST(COUNT(*) AS DOUBLE)": lambda r: float(len(r)),
    "MIN(amount) >= -3": lambda r: strict(lambda a: a >= -3)(min(present(r, "amount"), default=None)),
    "MIN(amount) < 3 AND COUNT(*) <= 4": lambda r: False if len(r) > 4 else strict(lambda a: a < 3)(min(present(r, "amount"), default=None)),
    "MIN(amount) < 3 OR COUNT(*) > 4": lambda r: True if len(r) > 4 else strict(lambda a: a < 3)(min(present(r, "amount"), default=None)),
}  # fmt: skip
