"""The same windows by other systems, on the same machine, topic and Redis: `python -m bench.peers` (README.md)."""
