"""A log on Kafka, taken as `replay` takes it: in its order, each request with all that follows."""
