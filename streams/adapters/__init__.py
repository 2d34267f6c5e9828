"""The borders to Kafka, PostgreSQL, log files and Prometheus; decisions of the flow stay out."""
