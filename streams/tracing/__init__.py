"""Spans around records on Kafka (OpenTelemetry); off, nothing of it is imported but this."""
