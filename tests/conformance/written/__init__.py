"""The cases that are written by hand, grouped as section 4 of the design is."""

from __future__ import annotations
