"""Exact, batched stream processing: fetch, step, checkpoint, recover; knows no stage by name."""
