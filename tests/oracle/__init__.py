"""A naive interpreter of workflow blueprints, written from the design text alone.

It judges the engine, so it shares no code with it: own JavaScript values, own expression parser, own node kinds, own
rules. It recomputes everything after every move and is slow on purpose.
"""

from __future__ import annotations
