"""The command `tidemark`: one module per command, imported when it is asked for."""
