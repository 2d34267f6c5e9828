"""Models that only experiments run; one that a worker runs belongs to `streams.models`."""
