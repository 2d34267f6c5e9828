"""What Prometheus is told: the table of all metrics, and the endpoint of a process.

A metric is defined in `table` and nowhere else; who counts imports it from there.
"""
