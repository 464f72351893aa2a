"""Plain property paths such as ``result.output.items.0.name``: read without the parser.

They are what the peer's default evaluator takes: ASCII letters, digits, ``_``, ``$`` and dots, in any order. So a part
may be a number, may start with a digit (``401.total``), may be a word that JavaScript reserves, and may be empty, which
means the key ``""``. Texts that are a JavaScript literal as a whole (``true``, ``null``, ``1.5``) are not paths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from flowcraft_dagster.engine.expression.conversions import WHITE_SPACE, parse_number, tidy
from flowcraft_dagster.engine.expression.syntax import Chain, Literal, Name, Part, Step
from flowcraft_dagster.engine.values import UNDEFINED

LITERAL_NAMES: Final[Mapping[str, Any]] = {
    "true": True,
    "false": False,
    "null": None,
    "undefined": UNDEFINED,
    "NaN": math.nan,
    "Infinity": math.inf,
}

_PATH: Final = re.compile(r"[A-Za-z0-9_$.]+")
# As the grammar's NUMBER: no leading zeros, so "007" is a name.
_NUMBER: Final = re.compile(
    r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][0-9]+)?"
)


def read_path(text: str) -> Part | None:
    """Compile a property path or a single literal.

    Returns:
        The compiled path, or None when the text is something else and needs the parser.

    Raises:
        Refusal: the path is over a limit.
    """
    path = text.strip(WHITE_SPACE)
    if not _PATH.fullmatch(path):
        return None
    if _NUMBER.fullmatch(path):
        return Literal(tidy(parse_number(path)))
    first, *members = path.split(".")
    start = Literal(LITERAL_NAMES[first]) if first in LITERAL_NAMES else Name(first)
    return Chain(start, [Step(member) for member in members]) if members else start
