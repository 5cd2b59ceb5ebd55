"""The batch layer, one job a file, in the order in which `nightly` runs them:

barrier → build_silver (gate) → build_gold (gate) → parity → publish;   maintain on its own schedule.

Batch owns every window that ended at or before `sealed_through`; the only thing that moves it is a publication, and
the only thing that writes a publication is a batch whose gates passed.
"""
