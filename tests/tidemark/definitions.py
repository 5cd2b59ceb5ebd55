"""A contract with a column of every type, and short ways to compile metrics over it."""

from typing import Any

from tidemark.contracts import ContractSet, read_contract
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric

FIELDS: dict[str, Any] = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamp", "required": True},
    "device": {"type": "string", "required": True},
    "kind": {"type": "string"},
    "site": {"type": "long"},
    "active": {"type": "boolean"},
    "seen": {"type": "timestamp"},
    "amount": {"type": "long"},
    "steps": {"type": "long", "required": True},
    "watts": {"type": "double"},
    "volts": {"type": "double", "required": True},
    "price": {"type": "decimal(18,4)"},
    "whole": {"type": "decimal(10,0)"},
    "props": {"type": "map<string,string>"},
    "meta": {"type": "struct", "fields": {"firmware": {"type": "string"}, "load": {"type": "double"}}},
}


def contract_set(fields: dict[str, Any] | None = None, *newer: dict[str, Any]) -> ContractSet:
    """The contract `events`, one version a mapping of fields."""
    versions = [
        read_contract(
            {
                "name": "events",
                "version": number,
                "event_time": "at",
                "late_after": "10 minutes",
                "key": "device",
                "dedupe": "id",
                "fields": given,
            },
            "test",
        )
        for number, given in enumerate((fields or FIELDS, *newer), 1)
    ]
    return ContractSet("events", tuple(versions))


CONTRACTS = {"events": contract_set()}


def compiled(sql: str, contracts: dict[str, ContractSet] | None = None, **more: Any) -> Metric:
    document = {"name": "m", "sql": sql, "windows": ["10m", "30m"], **more}
    return compile_metric(document, contracts or CONTRACTS)


def measure(expression: str, rest: str = "") -> Metric:
    """A metric of one output `v`."""
    return compiled(f"SELECT {expression} AS v FROM events {rest}")
