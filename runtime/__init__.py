"""What a process needs to start: the embedded Redis server, the Spark session, its jars, logging."""
