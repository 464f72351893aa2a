"""Whether a text looks like commercial spam: rules with points, spam from :data:`THRESHOLD` points on.

No single harmless trait is enough: a link alone, a shop's name or an excited line stay below the threshold. The phrases
of advertising are in ``spam_phrases.json``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

THRESHOLD: Final = 3.0
"""Points from which a text counts as spam."""

_PHRASES: Final = Path(__file__).with_name("spam_phrases.json")
_LINK = re.compile(
    r"https?://[^\s<>\"]+|\bwww\.[^\s<>\"]+|(?<![\w@.-])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}/[^\s<>\"]+", re.I
)
_HOST = re.compile(r"^(?:https?://)?(?:www\.)?([^/:?#\s]+)", re.I)
_SHORTENER = re.compile(
    r"^(?:bit\.ly|t\.co|goo\.gl|is\.gd|ow\.ly|rb\.gy|t\.ly|buff\.ly|(?:tinyurl|shorturl|cutt|short|shrtco|tiny)\.[a-z.]+)$",
    re.I,
)
_SELLING_HOST = re.compile(
    r"(?:free|win|prize|bonus|cheap|casino|bet|pills|deal|promo|discount|offer|loan|crypto|profit|followers|rich)|"
    r"\.(?:xyz|top|click|loan|win|bid|icu|buzz)$",
    re.I,
)
_INCOME = re.compile(
    r"(?:[$€£]\s?\d[\d.,]{0,12}|(?<![\d.,])\d[\d.,]{0,12}\s?(?:[$€£]|usd|eur|euros?|dollars?))\s*"
    r"(?:a|per|/|each|every|pro|am|par|al|por|a la|alla?|ao)\s*"
    r"(?:day|week|month|hour|night|tag|woche|monat|stunde|jour|semaine|mois|día|semana|mes|giorno|settimana|mese|dia|mês)",
    re.I,
)
_PERCENT_OFF = re.compile(
    r"\d{1,3}\s?%\s*(?:off|discount|rabatt|billiger|günstiger|de (?:descuento|réduction|remise|desconto)|"
    r"di sconto|sconto|korting|cheaper)",
    re.I,
)
_SHOUTING_MARKS = re.compile(r"!{3,}|(?:![^!]*){4,}|[$€]{3,}")
_PROMO_EMOJI = re.compile("[🔥💰🤑💸🎁🚀✅👉💎🎉📈💯⚡👇🛒]")
_HASHTAG = re.compile(r"(?<!\w)#[^\W\d]\w*")
_MESSENGER = re.compile(r"\b(?:whats\s?app|telegram|t\.me|signal|viber|wechat|snap)\b", re.I)
_WARNING = re.compile(
    r"\b(?:scam|phishing|fraud|spam|is (?:this|it|that) (?:legit|real|genuine)|beware|be careful|betrug|arnaque|estafa|"
    r"truffa|golpe)\b",
    re.I,
)
_WORD = re.compile(r"\w{3,}")
_LINE_END = re.compile(r"[\n.!?]+")


@cache
def _load_phrases() -> re.Pattern[str]:
    phrases = json.loads(_PHRASES.read_text(encoding="utf-8"))["phrases"]
    alternatives = "|".join(phrase for language in phrases.values() for phrase in language)
    return re.compile(rf"\b(?:{alternatives})(?!\w)", re.I)


@dataclass(frozen=True, slots=True)
class SpamRule:
    """A trait of spam and the points it gives.

    Attributes:
        name: for explanations, see :func:`explain_spam`.
        score: points for a text; 0 when the trait is absent.
    """

    name: str
    score: Callable[[str], float]


def _count(pattern: re.Pattern[str], text: str) -> int:
    # Each wording once: saying it again is the business of the rule on repetition.
    return len({match.group(0).casefold() for match in pattern.finditer(text)})


def _score_links(text: str) -> float:
    links = set(_LINK.findall(text))
    hosts = {host[1] for link in links if (host := _HOST.match(link))}
    score = min(len(links), 3) * 0.75
    score += 2 * any(_SHORTENER.match(host) for host in hosts)
    return score + any(_SELLING_HOST.search(host) for host in hosts)


def _score_capitals(text: str) -> float:
    letters = [character for character in text if character.isalpha() and character.lower() != character.upper()]
    return 1.0 if len(letters) >= 15 and sum(map(str.isupper, letters)) > 0.5 * len(letters) else 0.0


def _score_repetition(text: str) -> float:
    lines = Counter(line.strip().casefold() for line in _LINE_END.split(text) if len(line.strip()) >= 8)
    if lines and max(lines.values()) >= 3:
        return 2.5
    words = [word.casefold() for word in _WORD.findall(text)]
    return 2.5 if len(words) >= 10 and len(set(words)) < len(words) / 2 else 0.0


RULES: Final = (
    SpamRule("links", _score_links),
    SpamRule("promotional phrases", lambda text: min(_count(_load_phrases(), text) * 1.5, 4.5)),
    SpamRule("income promised", lambda text: 1.5 * bool(_INCOME.search(text))),
    SpamRule("percentage off", lambda text: 1.0 * bool(_PERCENT_OFF.search(text))),
    SpamRule("exclamation marks", lambda text: 0.5 * bool(_SHOUTING_MARKS.search(text))),
    SpamRule("capitals", _score_capitals),
    SpamRule("emoji of advertising", lambda text: 1.0 * (len(_PROMO_EMOJI.findall(text)) >= 3)),
    SpamRule("hashtags", lambda text: 1.0 * (len(_HASHTAG.findall(text)) >= 5)),
    SpamRule("leads to a messenger", lambda text: 1.0 * bool(_MESSENGER.search(text))),
    SpamRule("repetition", _score_repetition),
    SpamRule("warns of fraud", lambda text: -3.0 * bool(_WARNING.search(text))),
)
"""All rules; the points of a text are the sum of theirs."""


def explain_spam(text: str) -> dict[str, float]:
    """The points of each rule that applies to ``text``, by name."""
    folded = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return {rule.name: points for rule in RULES if (points := float(rule.score(folded)))}


def is_spam(text: str) -> bool:
    """Tell whether ``text`` looks like commercial spam.

    Example:
        >>> is_spam("Buy now! Free shipping, 50% off: https://deals.example.com"), is_spam("The manual: https://docs.example.org")
        (True, False)
    """
    return sum(explain_spam(text).values()) >= THRESHOLD
