"""Measurements beside the TypeScript peer, on one stack and in one run."""
