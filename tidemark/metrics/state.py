"""State columns: how each component accumulates in Spark. The stream and the batch both build on this table."""

from dataclasses import dataclass

from tidemark.metrics.model import HLL_LG_K, KLL_K, Component, Kind, Metric


@dataclass(frozen=True, slots=True)
class StateColumn:
    """One accumulated column `c{i}_…`: `input_sql` per event, folded by `aggregate`, of Spark type `spark_type`."""

    name: str
    input_sql: str
    aggregate: str
    spark_type: str

    @property
    def aggregate_sql(self) -> str:
        """The aggregate call over rows, for the batch."""
        return aggregate_sql(self.aggregate, self.input_sql)


def aggregate_sql(aggregate: str, argument: str) -> str:
    """A Spark aggregate call by our short name."""
    calls = {
        "hll": f"hll_sketch_agg({argument}, {HLL_LG_K})",
        "kll": f"kll_sketch_agg_double({argument}, {KLL_K})",
    }
    return calls.get(aggregate, f"{aggregate}({argument})")


def state_columns(component: Component, index: int) -> tuple[StateColumn, ...]:
    """The columns of the component at `index` of its metric.

    Integers are summed as two halves, `x >> 32` and `x & 0xffffffff`: exact beyond 64 bits at the price of two
    ordinary sums, where a decimal sum leaves Spark's fast path and a plain sum stops the query on overflow.
    """
    c, x = f"c{index}", component.sql
    match component.kind:
        case Kind.COUNT:
            return (StateColumn(f"{c}_n", x, "sum", "bigint"),)
        case Kind.SUM_INT:
            return (
                StateColumn(f"{c}_hi", f"shiftright({x}, 32)", "sum", "bigint"),
                StateColumn(f"{c}_lo", f"(({x}) & 4294967295L)", "sum", "bigint"),
            )
        case Kind.SUM_DOUBLE:
            return (StateColumn(f"{c}_sum", x, "sum", "double"),)
        case Kind.MIN_INT:
            return (StateColumn(f"{c}_min", x, "min", "bigint"),)
        case Kind.MAX_INT:
            return (StateColumn(f"{c}_max", x, "max", "bigint"),)
        case Kind.MIN_DOUBLE:
            return (StateColumn(f"{c}_min", x, "min", "double"),)
        case Kind.MAX_DOUBLE:
            return (StateColumn(f"{c}_max", x, "max", "double"),)
        case Kind.MOMENTS:
            return (
                StateColumn(f"{c}_n", x, "count", "bigint"),
                StateColumn(f"{c}_mean", x, "avg", "double"),
                StateColumn(f"{c}_var", x, "var_pop", "double"),
            )
        case Kind.HLL:
            return (StateColumn(f"{c}_hll", x, "hll", "binary"),)
        case Kind.KLL:
            return (StateColumn(f"{c}_kll", x, "kll", "binary"),)


def metric_state(metric: Metric) -> tuple[StateColumn, ...]:
    """Every state column of a metric, in component order."""
    return tuple(column for i, component in enumerate(metric.components) for column in state_columns(component, i))
