"""Clients, topics, lag and dead letters by confluent-kafka; Faust's parts belong in `engine`."""
