"""Real Kafka, Cassandra and Redis servers on loopback, for tests and development.

``scripts/stack`` is the command. Where a Docker engine answers, the servers of ``docker-compose.yml``
run; otherwise the published jars and the system's ``redis-server`` do, as plain processes. Needs
nothing but Python's standard library.

- :mod:`stack_servers.cli`: the commands and what they print
- :mod:`stack_servers.kinds`: the three servers: ports, files, command line, environment
- :mod:`stack_servers.local`, :mod:`stack_servers.compose`: the two ways to run a server
- :mod:`stack_servers.record`: what is known about a server between two commands
- :mod:`stack_servers.probes`: one real protocol request per server
"""
