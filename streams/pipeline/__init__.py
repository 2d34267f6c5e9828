"""The processes that run the flow: a worker on Kafka, a replay of a log, the sink to PostgreSQL."""
