"""The program behind ``scripts/chaos``."""
