"""Queues in Kafka: node jobs, dead letters and requests to start runs."""
