"""Tidemark's domain, pure: no Spark session, no Redis, no HTTP, no clock.

Batch owns every window that ended at or before `sealed_through`; speed owns every later one; serving adds their
partials, and says for each point which layer it came from.
"""
