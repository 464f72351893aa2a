"""Whether a text looks like commercial spam: rules with points, spam from :data:`THRESHOLD` points on.

No single harmless trait is enough: a link alone, a shop's name or an excited line stay below the threshold.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

THRESHOLD: Final = 3.0
"""Points from which a text counts as spam."""

_LINK = re.compile(r"https?://[^\s<>\"]+|\bwww\.[^\s<>\"]+|(?<![\w@.-])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}/[^\s<>\"]+", re.I)
_HOST = re.compile(r"^(?:https?://)?(?:www\.)?([^/:?#\s]+)", re.I)
_SHORTENER = re.compile(
    r"^(?:bit\.ly|t\.co|goo\.gl|is\.gd|ow\.ly|rb\.gy|t\.ly|buff\.ly|(?:tinyurl|shorturl|cutt|short|shrtco|tiny)\.[a-z.]+)$", re.I
)
_SELLING_HOST = re.compile(
    r"(?:free|win|prize|bonus|cheap|casino|bet|pills|deal|promo|discount|offer|loan|crypto|profit|followers|rich)|"
    r"\.(?:xyz|top|click|loan|win|bid|icu|buzz)$",
    re.I,
)
_STRONG = re.compile(
    r"\b(?:buy (?:now|today|it now|followers)|order (?:now|today)|click (?:here|the link|on the link|below|my link)|"
    r"act (?:now|fast)|limited[- ](?:time|offer|stock)|offer (?:ends|expires)|(?:only|just) \d+ (?:left|spots|places)|"
    r"work from home|(?:make|earn|earning|making) (?:easy |fast |quick |extra |real )?(?:money|cash|\$|€|£|up to)|"
    r"financial freedom|passive income|double your|triple your|get rich|free (?:money|gift card|iphone|trial now)|"
    r"guaranteed (?:profits?|results?|income|returns?|approval)|risk[- ]free|no (?:risk|credit check|experience needed)|"
    r"claim your|you(?:'ve| have) (?:won|been (?:selected|chosen))|congratulations,? you|lucky winner|"
    r"(?:online |best )casino|free spins|cheap (?:meds|pills|watches|followers|replica)|replica (?:watches|bags)|"
    r"weight[- ]loss|lose \d+ ?(?:kg|pounds|lbs)|miracle (?:cure|pill|cream)|crypto (?:giveaway|signals)|"
    r"investment opportunity|(?:promo|discount|coupon) code|use (?:my )?code|special (?:offer|price)|exclusive (?:deal|offer)|"
    r"(?:best|lowest|unbeatable) prices?|free (?:worldwide )?shipping|satisfaction guaranteed|money[- ]back|"
    r"(?:visit|check out) (?:my|our) (?:shop|store|channel|website|profile|page|new)|subscribe to my|follow (?:me|us) for|"
    r"dm (?:me|us)|link in (?:my )?bio|message me (?:now|for)|sign up (?:now|today)|join (?:now|my (?:team|group))|"
    r"(?:1000|10k|5k|\d+k) (?:real )?(?:followers|likes|views)|seo (?:services|ranking)|rank (?:#?1|first) on)(?!\w)",
    re.I,
)
_STRONG_ELSEWHERE = re.compile(
    r"\b(?:jetzt (?:kaufen|bestellen|zugreifen|sichern|klicken|anmelden)|nur (?:heute|noch heute)|hier klicken|klick(?:e)? hier|"
    r"kostenlos sichern|gratis (?:testen|sichern)|geld verdienen|von zu hause (?:aus )?(?:arbeiten|verdienen)|sie haben gewonnen|"
    r"gewinn(?:e|en sie)|rabattcode|versandkostenfrei|sonderangebot|schnell reich|garantiert(?:er|e)? gewinn\w*|"
    r"achetez maintenant|cliquez ici|offre (?:limitée|spéciale|exclusive)|gagne[rz] de l'argent|livraison gratuite|code promo|"
    r"vous avez gagné|profitez(?:-en)?|argent facile|revenu garanti|commandez|inscrivez-vous|"
    r"compra (?:ya|ahora)|haz clic|oferta (?:limitada|especial|exclusiva)|gana(?:r)? dinero|envío gratis|código de descuento|"
    r"has ganado|sin riesgo|dinero fácil|trabaja desde casa|solo hoy|regístrate|"
    r"compra (?:subito|ora)|clicca qui|offerta (?:limitata|speciale)|guadagna(?:re)?|spedizione gratuita|codice sconto|hai vinto|"
    r"solo (?:per )?oggi|compre (?:já|agora)|clique aqui|oferta (?:limitada|especial)|ganh(?:e|ar) dinheiro|frete grátis|"
    r"código de desconto|você ganhou|só hoje|koop nu|klik hier|gratis verzending|verdien geld|kup teraz|kliknij tutaj|"
    r"darmowa dostawa|zarabiaj|şimdi al|tıkla(?:yın)?|купи(?:те)? сейчас|жми(?:те)? сюда|заработок|бесплатн\w+ доставк\w+)(?!\w)",
    re.I,
)
_INCOME = re.compile(
    r"(?:[$€£]\s?\d[\d.,]{0,12}|(?<![\d.,])\d[\d.,]{0,12}\s?(?:[$€£]|usd|eur|euros?|dollars?))\s*(?:a|per|/|each|every|pro|am|par|al|por|a la|alla?|ao)\s*"
    r"(?:day|week|month|hour|night|tag|woche|monat|stunde|jour|semaine|mois|día|semana|mes|giorno|settimana|mese|dia|mês)",
    re.I,
)
_PERCENT_OFF = re.compile(
    r"\d{1,3}\s?%\s*(?:off|discount|rabatt|billiger|günstiger|de (?:descuento|réduction|remise|desconto)|di sconto|sconto|korting|cheaper)",
    re.I,
)
_SHOUTING_MARKS = re.compile(r"!{3,}|(?:![^!]*){4,}|[$€]{3,}")
_PROMO_EMOJI = re.compile("[🔥💰🤑💸🎁🚀✅👉💎🎉📈💯⚡👇🛒]")
_HASHTAG = re.compile(r"(?<!\w)#[^\W\d]\w*")
_MESSENGER = re.compile(r"\b(?:whats\s?app|telegram|t\.me|signal|viber|wechat|snap)\b", re.I)
_WARNING = re.compile(
    r"\b(?:scam|phishing|fraud|spam|is (?:this|it|that) (?:legit|real|genuine)|beware|be careful|betrug|arnaque|estafa|truffa|golpe)\b", re.I
)
_WORD = re.compile(r"\w{3,}")
_LINE_END = re.compile(r"[\n.!?]+")


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
        return 2.0
    words = Counter(word.casefold() for word in _WORD.findall(text))
    total = sum(words.values())
    if total >= 8 and max(words.values()) >= 5 and max(words.values()) > 0.4 * total:
        return 2.0
    return 0.0


RULES: Final = (
    SpamRule("links", _score_links),
    SpamRule("promotional phrases", lambda text: min(_count(_STRONG, text) * 1.5, 4.5)),
    SpamRule("promotional phrases, other languages", lambda text: min(_count(_STRONG_ELSEWHERE, text) * 1.5, 4.5)),
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
