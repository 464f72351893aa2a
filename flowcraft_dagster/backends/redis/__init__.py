"""Coordination in Redis: hints that make things faster."""
