"""Runnable examples of the package."""
