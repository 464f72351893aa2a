"""Names with dashes: ``check-spam`` is a key when the scope has it, otherwise a subtraction.

JavaScript reads ``a-b`` as ``a - b``, yet node ids and context keys often have dashes. Which of the two is meant
depends on the scope, and it changes the structure: ``2 * a-b`` is ``2 * (a-b)`` or ``(2 * a) - b``. So an expression
has one reading for each set of dashed keys that exist, and the right one is chosen at every evaluation:

- A chain is two or more words (letters, digits, ``_``, ``$``) joined by single dashes without spaces, outside of
  strings and not behind a dot. ``a - b`` is always a subtraction, and so is ``result.output.a-b``.
- Of all keys that words of the chain may form and that the scope has, the longest in words is taken, the leftmost of
  equally long ones; then the rest of the chain on its left and its right is searched in the same way. What remains is
  subtraction: with the keys ``a-b`` and ``c``, ``a-b-c`` is ``(a-b) - c``.

``context["check-spam"]`` means the key in every case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from flowcraft_dagster.engine.expression.limits import MAX_DASHED_KEYS
from flowcraft_dagster.engine.expression.syntax import Refusal

# A noncharacter in the place of a dash that belongs to a key. The grammar knows it; positions stay the same.
KEY_DASH: Final = "\ufdd0"

Span = tuple[int, int]

_SCAN: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | \.\s*[\w$]+ | (?<![\w$])(?P<chain>[\w$]+(?:-[\w$]+)+)""",
    re.DOTALL | re.VERBOSE,
)


class DashedChain(NamedTuple):
    """Words joined by dashes.

    Attributes:
        text: the whole chain.
        words: start and end of each word in the expression, in order.
        start: where the chain starts in the expression.
    """

    text: str
    words: tuple[Span, ...]
    start: int

    def key(self, first: int, last: int) -> str:
        """The key that the words from ``first`` to ``last``, both included, form."""
        return self.text[self.words[first][0] - self.start : self.words[last][1] - self.start]

    def runs(self) -> Iterator[str]:
        """Every key that two or more neighbouring words form."""
        for first in range(len(self.words)):
            for last in range(first + 1, len(self.words)):
                yield self.key(first, last)


def find_chains(text: str) -> tuple[DashedChain, ...]:
    """The chains of an expression.

    Raises:
        Refusal: they could mean more than ``MAX_DASHED_KEYS`` keys.
    """
    if "-" not in text:
        return ()
    chains: list[DashedChain] = []
    keys = 0
    for match in _SCAN.finditer(text):
        if match["chain"] is None:
            continue
        start = match.start()
        words = tuple((start + word.start(), start + word.end()) for word in re.finditer(r"[\w$]+", match["chain"]))
        keys += len(words) * (len(words) - 1) // 2
        if keys > MAX_DASHED_KEYS:
            raise Refusal("too many words are joined by '-'; write spaces around a minus sign", start)
        chains.append(DashedChain(match["chain"], words, start))
    return tuple(chains)


def choose_keys(chains: Iterable[DashedChain], exists: Callable[[str], bool]) -> tuple[Span, ...]:
    """Decide which words belong together.

    Args:
        chains: what ``find_chains`` gave.
        exists: tells whether the scope has a key.

    Returns:
        Start and end of each dashed key in the expression, in order.
    """
    return tuple(span for chain in chains for span in _choose(chain, 0, len(chain.words), exists))


def _choose(chain: DashedChain, low: int, high: int, exists: Callable[[str], bool]) -> Iterator[Span]:
    for length in range(high - low, 1, -1):
        for first in range(low, high - length + 1):
            last = first + length - 1
            if exists(chain.key(first, last)):
                yield from _choose(chain, low, first, exists)
                yield chain.words[first][0], chain.words[last][1]
                yield from _choose(chain, last + 1, high, exists)
                return


def mark_keys(text: str, spans: Iterable[Span]) -> str:
    """Put ``KEY_DASH`` in place of the dashes inside ``spans``; the length stays the same."""
    for start, end in spans:
        text = text[:start] + text[start:end].replace("-", KEY_DASH) + text[end:]
    return text
