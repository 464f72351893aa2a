"""Measurements on real servers, most of them beside the TypeScript peer; see ``python -m benchmarks --help``."""
