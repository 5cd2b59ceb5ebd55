"""What a batch tells at its end: one entry per contract and per metric, as a table for people or one JSON document."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from quality.gate import GateResult
from spark_jobs.build_silver import SilverResult
from spark_jobs.parity import Parity
from spark_jobs.settle import Outcome
from tidemark.errors import GateFailed
from tidemark.windows import iso, window_name


@dataclass(frozen=True, slots=True)
class ContractReport:
    """Rows that the batch read from bronze, and what became of them."""

    read: int
    added: int
    duplicates: int
    conflicts: int
    silver_version: int | None


@dataclass(frozen=True, slots=True)
class MetricReport:
    """`state`: sealed, unchanged or failed. Granules: dirty ones sealed again, and those sealed for the first time."""

    state: str
    sealed_through: str | None
    version: int
    granules_dirty: int
    granules_new: int
    rows: int
    gate: str
    failed: list[str]
    parity: dict[str, Any]


@dataclass(slots=True)
class BatchReport:
    """Filled by the steps of the batch. `broken`: the first broken expectation of each gate that failed.

    `gate_seconds`: the part of `seconds` that Great Expectations' checks took, one after another.
    """

    through: int
    contracts: dict[str, ContractReport] = field(default_factory=dict)
    metrics: dict[str, MetricReport] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    gate_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.broken

    def raise_for_gates(self) -> None:
        """GateFailed, one line that names the broken expectations, unless all gates passed."""
        if self.broken:
            raise GateFailed(f"gate failed, the old publication stays in force: {'; '.join(self.broken)}")

    def add_contract(self, silver: SilverResult) -> None:
        self.contracts[silver.contract] = ContractReport(
            silver.read, silver.added, silver.duplicates, silver.conflicts, silver.version
        )
        self._add_gates(silver.gates)

    def add_metric(self, outcome: Outcome, parities: list[Parity]) -> None:
        plan, failed = outcome.plan, outcome.failed
        state = "failed" if failed else "unchanged" if plan.is_idle else "sealed"
        before = (plan.previous.sealed_through, plan.previous.version) if plan.previous else (None, 0)
        sealed, version = (plan.sealed_through, plan.version) if state == "sealed" else before
        self.metrics[plan.metric.name] = MetricReport(
            state,
            None if sealed is None else iso(sealed),
            version,
            plan.dirty,
            plan.new,
            outcome.gold.rows,
            "failed" if failed else "passed",
            [line for gate in failed for line in gate.failed],
            _parity_words(parities),
        )
        self._add_gates(outcome.gates)

    def _add_gates(self, results: Sequence[GateResult]) -> None:
        self.broken += [gate.failed[0] for gate in results if not gate.passed]
        self.gate_seconds += sum(gate.seconds for gate in results)

    def to_document(self) -> dict[str, Any]:
        return {
            "through": iso(self.through),
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "gate_seconds": round(self.gate_seconds, 3),
            "contracts": {name: asdict(each) for name, each in sorted(self.contracts.items())},
            "metrics": {name: asdict(each) for name, each in sorted(self.metrics.items())},
        }


def _parity_words(parities: list[Parity]) -> dict[str, Any]:
    return {
        "windows": sum(each.windows for each in parities),
        "mismatched": sum(each.mismatched for each in parities),
        "not_compared": sum(each.not_compared for each in parities),
        "max_relative_error": max((each.max_relative_error for each in parities), default=0.0),
        "by_window": {
            window_name(each.window_s): {"windows": each.windows, "mismatched": each.mismatched} for each in parities
        },
    }
