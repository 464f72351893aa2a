"""Measures how much a backend does, with worker processes and data of its own."""
