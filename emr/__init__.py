"""Tidemark on EMR: what is shipped to a cluster (`package`) and how a job is handed to it (`submit`)."""
