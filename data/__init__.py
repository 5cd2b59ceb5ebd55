"""Seeded simulators: one module per pack, faults, pacing, and the ledger of what a right pipeline must count."""
