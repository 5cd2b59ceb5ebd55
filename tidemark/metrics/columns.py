"""What a metric's SQL may name: the columns of one contract, with their types, and the SQL that reads them."""

from dataclasses import dataclass

from tidemark.contracts import ContractSet, Field

SCALARS = ("string", "long", "double", "boolean", "timestamp")


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A readable column: `sql` re-emitted and quoted, `type` as in contracts, `nullable` when it may be absent."""

    sql: str
    type: str
    nullable: bool


class ColumnScope:
    """Resolves `a`, `a.b` (struct field) and `table.a` against every version of one contract."""

    def __init__(self, contract: ContractSet) -> None:
        self.contract = contract
        self._columns: dict[tuple[str, ...], ColumnRef] = {}
        versions = sorted(contract.versions, key=lambda version: version.version)
        for version in versions:
            for field in version.fields:
                self._add((), field, nullable=False)
        everywhere = [self._paths(version.fields) for version in versions]
        for path, ref in list(self._columns.items()):
            if not all(path in paths for paths in everywhere):
                self._columns[path] = ColumnRef(ref.sql, ref.type, True)

    def resolve(self, path: tuple[str, ...]) -> ColumnRef | None:
        """The column at a path, None when the contract has no such column."""
        return self._columns.get(path)

    def names(self) -> list[str]:
        return sorted(".".join(path) for path in self._columns)

    def _add(self, parents: tuple[str, ...], field: Field, nullable: bool) -> None:
        path = (*parents, field.name)
        nullable = nullable or not field.required
        before = self._columns.get(path)
        sql = ".".join(f"`{name}`" for name in path)
        self._columns[path] = ColumnRef(sql, str(field.type), nullable or bool(before and before.nullable))
        for child in field.fields:
            self._add(path, child, nullable)

    def _paths(self, fields: tuple[Field, ...], parents: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for field in fields:
            found.add((*parents, field.name))
            found |= self._paths(field.fields, (*parents, field.name))
        return found
