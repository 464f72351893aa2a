"""Offline detectors: personal data, hate speech and spam. Pure functions on text, no network."""
