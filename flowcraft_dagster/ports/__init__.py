"""What the runtime needs from the outside: short protocols, one file each.

Backends implement them and stay dumb: no protocol here knows a blueprint, a join or a retry. Semantics live in
``engine.decide`` and ``runtime.commit``; every backend must pass the suites in ``flowcraft_dagster.testing``.
"""
