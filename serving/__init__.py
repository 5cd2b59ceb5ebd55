"""The read side of Tidemark: one answer from batch and speed, and the HTTP door for events. No JVM."""
