"""A worker, a client and a reconciler on Kafka, Cassandra and Redis, around clients of your own; see ``README.md``."""
