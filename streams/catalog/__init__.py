"""The catalogue as a file and as a graph: YAML in and out, inference from a log, critical paths."""
