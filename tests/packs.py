"""The definitions that ship, loaded once for all tests."""

from conf.settings import PACKAGED
from tidemark.metrics.registry import load_registry

SHIPPED = load_registry([PACKAGED])
PACKED_CONTRACTS = SHIPPED.contracts
