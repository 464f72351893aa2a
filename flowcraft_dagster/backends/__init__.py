"""Implementations of the ports, one folder each."""
