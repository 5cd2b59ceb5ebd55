"""The durable source as a log: append, end position, and the position that a checkpoint has passed."""
