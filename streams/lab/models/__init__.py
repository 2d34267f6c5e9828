"""Models that only experiments run; models of the workers belong to `streams.models`."""
