"""The flow as data: which records are on which topic, and which stage reads and writes it."""
