"""Runs files of conformance cases through a backend and compares what was observed."""
