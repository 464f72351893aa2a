"""State in Cassandra: runs, their listings, and the records of workers."""
