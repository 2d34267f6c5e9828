"""Records to Avro bytes and back, and compatibility of schemas; nothing of Kafka."""
