"""A Kafka broker as all that is above it asks it: questions, their deadlines, its refusals."""
