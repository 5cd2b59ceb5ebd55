"""Generated cases run on shared machines: how long one takes says nothing about it."""

from hypothesis import settings

settings.register_profile("tidemark", deadline=None)
settings.load_profile("tidemark")
