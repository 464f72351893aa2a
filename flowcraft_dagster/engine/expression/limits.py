"""How much an expression may cost. All of them are far above what a hand-written condition needs.

An expression has no loops and no calls, so every part is evaluated at most once: the number of parts bounds the number
of steps. What is left to bound is the work inside one step, such as writing a long list as text.
"""

from __future__ import annotations

from typing import Final

MAX_LENGTH: Final = 4096
"""Characters of an expression's text."""

MAX_DEPTH: Final = 64
"""Levels of nesting. Chains such as ``a && b && c`` and ``a.b.c`` are one level; redundant parentheses are none."""

MAX_PARTS: Final = 1000
"""Literals, names, members and operators of an expression, and so the steps of an evaluation."""

MAX_DASHED_KEYS: Final = 1000
"""Keys that names joined by ``-`` may stand for; ``a-b-c`` may stand for three."""

MAX_TEXT: Final = 1_048_576
"""Characters of a text that an expression builds."""

MAX_WORK: Final = 8_388_608
"""Characters that the conversions of one evaluation may go through; less than a second's work."""

ITEM_WORK: Final = 32
"""Characters that a list item counts for, beside its own text."""

CACHED_EXPRESSIONS: Final = 1024
"""Compiled expressions that are kept."""

CACHED_READINGS: Final = 16
"""Readings of one expression with dashed names that are kept; see :mod:`.dashes`."""
