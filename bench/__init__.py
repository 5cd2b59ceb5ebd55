"""Benchmarks: each a command that prints a table and keeps its figures in bench/results/."""
