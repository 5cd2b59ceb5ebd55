"""Typed settings, environment files, and the contracts and metrics that ship."""
