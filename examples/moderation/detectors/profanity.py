"""Profanity by the library ``glin-profanity`` (English list), asked only about words it has not judged yet.

The library looks through disguises such as ``sh1t`` and takes about a millisecond for a post. Words repeat all the
time, so its verdicts are remembered and a usual post costs a few microseconds. Swear words of several words, each
harmless alone, are not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

# Words of the list that are harmless in medicine, in another language or in everyday talk.
_NOT_PROFANE: Final = (
    "anal", "anus", "breasts", "butt", "fecal", "genitals", "god", "grope", "hoe", "intercourse", "kinky", "lmfao",
    "negro", "nude", "nudity", "omfg", "penis", "rape", "scat", "semen", "sex", "sexo", "sexual", "sexuality",
    "sexually", "sexy", "simp", "suck", "sucks", "vagina", "vulva", "xx", "xxx",
)  # fmt: skip
_MOST_WORDS: Final = 50_000
"""Remembered words; the memory is emptied when it is full."""

_WORD = re.compile(r"[^\s,;:?\"()\[\]{}<>]{2,40}")

_verdicts: dict[str, bool] = {}


@cache
def _load_filter() -> Callable[[str], bool]:
    from glin_profanity import Filter  # type: ignore[import-untyped]

    profanity = Filter({"languages": ["english"], "ignore_words": list(_NOT_PROFANE)})

    def ask(text: str) -> bool:
        return bool(profanity.is_profane(text))

    return ask


def has_profanity(text: str) -> bool:
    """Tell whether any word of ``text`` is profane.

    Example:
        >>> has_profanity("Good morning, Scunthorpe"), has_profanity("This is sh1t")
        (False, True)
    """
    words = set(_WORD.findall(text))
    new = [word for word in sorted(words) if word not in _verdicts]
    if new:
        if len(_verdicts) + len(new) > _MOST_WORDS:
            _verdicts.clear()
            new = sorted(words)
        ask = _load_filter()
        # One question clears all words of a clean post; only otherwise each is asked about.
        clean = not ask(" , ".join(new))
        _verdicts.update({word: not clean and ask(word) for word in new})
    return any(_verdicts[word] for word in words)
