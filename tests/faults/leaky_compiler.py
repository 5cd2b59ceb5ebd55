"""The command `tidemark` with a compiler that has a hole: `python -m tests.faults.leaky_compiler stream --once`.

It lets `RAISE(x)` through, which compiles and fails when an event reaches it, as an error does that nobody has found
yet; any other unknown function fails when Spark looks at the query. In the product no such hole is known: whoever finds
one mends the compiler, and with it a test that used the hole.
"""

import sys

from sqlglot import exp

from cli.main import main
from tidemark.metrics import expressions
from tidemark.metrics.expressions import RowTranslator
from tidemark.metrics.nodes import Typed


def open_hole() -> None:
    """From here on, compiled metrics of this process may fail when they run."""
    expressions._HANDLERS[exp.Anonymous] = _raise


def _raise(rows: RowTranslator, node: exp.Expression) -> Typed:
    value = rows.translate(node.expressions[0])
    if str(node.this).upper() != "RAISE":
        return Typed(f"{node.this}({value.sql})", "long")
    return Typed(f"CAST(IF({value.sql} IS NULL, '0', 'poison') AS BIGINT)", "long")


if __name__ == "__main__":
    open_hole()
    sys.exit(main(sys.argv[1:]))
