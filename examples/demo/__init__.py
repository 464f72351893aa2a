"""The demonstration behind ``scripts/demo``: Dagster and a worker on the embedded backend, busy with example posts."""
