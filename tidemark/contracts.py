"""Contracts: the declared schema, row rules, PII tags and roles of the events of one name, in versions side by side.

A file of `contracts/*.yaml` holds one version of one contract. An event's integer `version` selects the version that it
is checked against; without one it is the newest. Columns keep the newest type, into which older ones widen.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from tidemark.errors import ContractError
from tidemark.fields import PSEUDONYMISE, RESERVED, Field, FieldType, Rules, read_fields, refuse_unknown

__all__ = [
    "PSEUDONYMISE",
    "RESERVED",
    "VERSION_FIELD",
    "Contract",
    "ContractSet",
    "Field",
    "FieldType",
    "Rules",
    "contract_set",
    "load_contracts",
    "parse_duration",
    "read_contract",
]

VERSION_FIELD = "version"
"""The key of an event that selects the version of its contract."""
MAX_VERSION = 2**31 - 1

_KEYS = {"name", "version", "event_time", "late_after", "key", "dedupe", "tenant", "fields"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})\s*(s|secs?|seconds?|m|min|mins|minutes?|h|hours?|d|days?)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Contract:
    """One version. `event_time`, `key`, `dedupe` and `tenant` are names of `fields`."""

    name: str
    version: int
    event_time: str
    late_after_s: int
    key: str
    dedupe: str
    tenant: str | None
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """The top-level field of that name; KeyError when there is none."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


@dataclass(frozen=True)
class ContractSet:
    """All versions of one contract, ascending by version."""

    name: str
    versions: tuple[Contract, ...]

    @property
    def newest(self) -> Contract:
        return self.versions[-1]

    def version(self, number: int) -> Contract | None:
        """The contract of that version, None when there is none."""
        return next((contract for contract in self.versions if contract.version == number), None)

    @cached_property
    def columns(self) -> tuple[Field, ...]:
        """Fields as columns: those of the newest version, then those that only older ones have (never required)."""
        merged: tuple[Field, ...] = ()
        for contract in reversed(self.versions):
            merged = _merge(merged, contract.fields)
        return merged


def load_contracts(folders: Sequence[Path]) -> dict[str, ContractSet]:
    """Every `*.yaml` of the folders, by contract name. ContractError, one line, names the file and the place."""
    found: dict[str, dict[int, tuple[Contract, Path]]] = {}
    for file in (file for folder in folders for file in sorted(folder.glob("*.y*ml"))):
        contract = read_contract(_read_yaml(file), str(file))
        versions = found.setdefault(contract.name, {})
        if contract.version in versions:
            other = versions[contract.version][1]
            raise ContractError(f"{file}: version {contract.version} of {contract.name!r} is already in {other}")
        versions[contract.version] = contract, file
    return {
        name: contract_set(name, [versions[n] for n in sorted(versions)]) for name, versions in sorted(found.items())
    }


def read_contract(given: object, where: str) -> Contract:
    """One version from its YAML document; ContractError starts with `where`."""
    if not isinstance(given, Mapping):
        raise ContractError(f"{where}: must be a mapping")
    refuse_unknown(given, _KEYS, where)
    for key in sorted(_KEYS - {"tenant"} - given.keys()):
        raise ContractError(f"{where}: {key} is missing")
    name, version = given["name"], given["version"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(f"{where}: name {name!r} must be lower-case letters, digits and _, at most 63")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
        raise ContractError(f"{where}: version must be a whole number from 1")
    tenant = _role(given, "tenant", where) if given.get("tenant") is not None else None
    contract = Contract(
        name,
        version,
        event_time=_role(given, "event_time", where),
        late_after_s=parse_duration(given["late_after"], where),
        key=_role(given, "key", where),
        dedupe=_role(given, "dedupe", where),
        tenant=tenant,
        fields=_with_tenant(read_fields(given["fields"], where), tenant, where),
    )
    _check_roles(contract, where)
    return contract


def _role(given: Mapping[Any, Any], role: str, where: str) -> str:
    name = given[role]
    if not isinstance(name, str):
        raise ContractError(f"{where}: {role} must be the name of a field")
    return name


def _with_tenant(fields: tuple[Field, ...], tenant: str | None, where: str) -> tuple[Field, ...]:
    """A tenant column that is not among the fields is an optional string."""
    if tenant is None or tenant in {field.name for field in fields}:
        return fields
    return fields + read_fields({tenant: {"type": "string"}}, where)


def parse_duration(text: object, where: str) -> int:
    """`10 minutes`, `90s`, `1 hour` → seconds; ContractError otherwise."""
    found = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise ContractError(f"{where}: late_after: {text!r} is not a duration such as '10 minutes' or '90s'")
    return int(found[1]) * _SECONDS[found[2][0]]


def _check_roles(contract: Contract, where: str) -> None:
    kinds = {"event_time": {"timestamp"}, "key": {"string", "long"}, "dedupe": {"string"}, "tenant": {"string"}}
    by_name = {field.name: field for field in contract.fields}
    for role, allowed in kinds.items():
        name = getattr(contract, role)
        if role == "tenant" and name is None:
            continue
        field = by_name.get(name)
        if field is None or field.type.kind not in allowed:
            raise ContractError(f"{where}: {role}: {name!r} is not a field of type {' or '.join(sorted(allowed))}")
        if role in ("event_time", "dedupe") and not field.required:
            raise ContractError(f"{where}: field {name!r} is the {role} and must be required")
    selector = by_name.get(VERSION_FIELD)
    if selector is not None and (selector.type.kind != "long" or selector.rules != Rules()):
        raise ContractError(f"{where}: field 'version' selects the contract's version: a long without rules")


def contract_set(name: str, versions: Sequence[tuple[Contract, Path | str]]) -> ContractSet:
    """Versions, ascending, each with where it is from. ContractError when one does not widen those before it."""
    for (older, _), (newer, file) in pairwise(versions):
        for role in ("event_time", "key", "dedupe", "tenant"):
            if getattr(older, role) not in (getattr(newer, role), None):
                raise ContractError(f"{file}: {role} differs from version {older.version}")
    for index, (newer, file) in enumerate(versions):
        for older, _ in versions[:index]:
            _check_widening(older.fields, newer.fields, f"{file}: version {newer.version}: field")
    return ContractSet(name, tuple(contract for contract, _ in versions))


def _check_widening(older: Sequence[Field], newer: Sequence[Field], where: str) -> None:
    before = {field.name.lower(): field for field in older}
    for field in newer:
        old = before.get(field.name.lower())
        if old is None:
            continue
        if old.name != field.name or not field.type.widens(old.type):
            was = f"{old.name}: {old.type}"
            raise ContractError(
                f"{where} {field.name!r} ({field.type}) does not widen what an older version has ({was})"
            )
        _check_widening(old.fields, field.fields, f"{where} {field.name}.")


def _merge(newer: tuple[Field, ...], older: tuple[Field, ...]) -> tuple[Field, ...]:
    if not newer:
        return older
    by_name = {field.name: field for field in older}
    kept = [_merge_field(field, by_name.get(field.name)) for field in newer]
    names = {field.name for field in newer}
    return (*kept, *(replace(field, required=False) for field in older if field.name not in names))


def _merge_field(newer: Field, older: Field | None) -> Field:
    if older is None:
        return replace(newer, required=False)
    required = newer.required and older.required
    return replace(newer, required=required, pii=newer.pii or older.pii, fields=_merge(newer.fields, older.fields))


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ContractError(f"key {key!r} is given twice, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> object:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)  # a SafeLoader
    except (yaml.YAMLError, ContractError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(f"{file}: {' '.join(str(error).split())}") from None
