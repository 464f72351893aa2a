"""How severe the hate speech in a text is: none, moderate or severe.

* severe: a threat, a call to harm, or a statement that denies people their humanity for what they are; or a slur;
* moderate: profanity or an insult; contempt for a group; severe words that are quoted in order to object to them;
* none: neither.

The phrases are in ``lexicon.json``, profanity comes from :mod:`.profanity`. Slurs are not
spelled out here: the lexicon keeps the first 16 hexadecimal digits of the SHA-256 of each folded word. Add one with
:func:`digest_word`.

The text is folded before matching, so that ``h4te`` or ``kiiill`` do not slip through.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from examples.moderation.detectors.profanity import has_profanity

Level = Literal["none", "moderate", "severe"]

_LEXICON: Final = Path(__file__).with_name("lexicon.json")
_LOOKALIKES: Final = str.maketrans("013457@$!", "oieastasi")
_LETTER = re.compile(r"[^\W\d_]")
_STRETCHED = re.compile(r"(\w)\1{2,}")
_SPACED_OUT = re.compile(r"(?<!\w)(?:\w[ .*_-]){3,}\w(?!\w)")
_SPACERS = re.compile(r"[ .*_-]")
_HIDDEN = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]")
_SENTENCE_END = re.compile(r"[.!?\n]+(?:\s|$)|\n+")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class _Phrases:
    severe: tuple[re.Pattern[str], ...]
    moderate: tuple[re.Pattern[str], ...]
    counter_speech: tuple[re.Pattern[str], ...]
    slurs: frozenset[str]


@cache
def _load_phrases() -> _Phrases:
    document = json.loads(_LEXICON.read_text(encoding="utf-8"))
    languages = document["languages"].values()

    def compile_level(level: str) -> tuple[re.Pattern[str], ...]:
        # One pattern a language: a single pass over the text instead of one for each phrase.
        patterns = ("|".join(_fill(phrase, language["lists"]) for phrase in language[level]) for language in languages)
        return tuple(re.compile(pattern) for pattern in patterns)

    return _Phrases(
        severe=compile_level("severe"),
        moderate=compile_level("moderate"),
        counter_speech=tuple(re.compile(language["counter_speech"]) for language in languages),
        slurs=frozenset(document["slur_digests"]),
    )


def _fill(phrase: str, lists: dict[str, str]) -> str:
    for name, alternatives in lists.items():
        phrase = phrase.replace("{" + name + "}", alternatives)
    return phrase


def digest_word(word: str) -> str:
    """The form in which the lexicon keeps a slur: 16 hexadecimal digits.

    Args:
        word: one word in the singular; case does not matter.
    """
    return hashlib.sha256(word.casefold().encode()).hexdigest()[:16]


def rate_hate_speech(text: str) -> Level:
    """Tell how severe the hate speech in ``text`` is.

    Example:
        >>> rate_hate_speech("What a lovely day"), rate_hate_speech("You idiot!")
        ('none', 'moderate')
        >>> rate_hate_speech("All migrants are vermin")
        'severe'
    """
    phrases = _load_phrases()
    moderate = False
    views = _fold(text)
    for view in views:
        for sentence in _SENTENCE_END.split(view):
            if _is_severe(sentence, phrases):
                if not any(pattern.search(sentence) for pattern in phrases.counter_speech):
                    return "severe"
                moderate = True
        moderate = moderate or any(pattern.search(view) for pattern in phrases.moderate)
    return "moderate" if moderate or has_profanity(views[0]) else "none"


def _is_severe(sentence: str, phrases: _Phrases) -> bool:
    if any(pattern.search(sentence) for pattern in phrases.severe):
        return True
    return any(_is_slur(word, phrases.slurs) for word in _WORD.findall(sentence))


def _is_slur(word: str, slurs: frozenset[str]) -> bool:
    if len(word) < 4:
        return False
    return digest_word(word) in slurs or (word.endswith("s") and digest_word(word[:-1]) in slurs)


def _unmask(word: str) -> str:
    """Read digits and signs between letters as the letters they look like."""
    if word.isalpha() or not _LETTER.search(word):
        return word
    body = word.rstrip("!")
    return body.translate(_LOOKALIKES) + word[len(body) :]


def _fold(text: str) -> list[str]:
    """The folded text, and more readings of it where letters are stretched: with each run cut to one or two."""
    folded = unicodedata.normalize("NFKC", _HIDDEN.sub("", text)).casefold().replace("\u2019", "'")
    folded = _SPACED_OUT.sub(lambda match: _SPACERS.sub("", match[0]), folded)
    folded = " ".join(_unmask(word) for word in folded.split(" "))
    if not _STRETCHED.search(folded):
        return [folded]
    return [folded, _STRETCHED.sub(r"\1", folded), _STRETCHED.sub(r"\1\1", folded)]
