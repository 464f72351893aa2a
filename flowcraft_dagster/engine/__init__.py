"""The functional core: what a blueprint means, decided from facts. No I/O, no clock, no server."""
