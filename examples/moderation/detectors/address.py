"""Street addresses: one documented pattern for each way of writing them.

Each needs a house number, because a street alone is a place and not where somebody lives. Styles: English-speaking
countries, German, Dutch, French, Spanish, Italian, Portuguese, Polish, and post boxes. Capital letters are asked for
where the word for the street also has other uses; after "I live at" and the like small letters do as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from examples.moderation.detectors.finding import Finding

_LETTERS = r"[^\W\d_]"
_NAME = rf"[A-ZÀ-ÖØ-ÞŁŚŻ](?:(?:{_LETTERS}|['\u2019.-])*{_LETTERS})?(?!\w)"
_TOWN = rf"{_NAME}(?:[ -]{_NAME}){{0,2}}"
_ENGLISH_STREET = (
    r"(?:(?:St|Ave|Rd|Blvd|Ln|Dr|Ct|Pl|Hwy)\b\.?|(?:Street|Avenue|Road|Boulevard|Lane|Drive|Court|Terrace|Crescent|Close|"
    r"Square|Way|Place|Parkway|Highway|Gardens|Grove|Hill|Row)\b)"
)
_FLAT = r"(?:,?\s+(?:Apt|Apartment|Unit|Suite|Flat|#)\.?\s*\w{1,5})?"
_UK_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}"
_POSTCODE = rf"(?:[A-Z]{{2}}\s+\d{{5}}(?:-\d{{4}})?|{_UK_POSTCODE}|[A-Z]{{2,3}}\s\d{{4}})"
_AFTER_ENGLISH = rf"{_FLAT}(?:,\s*{_TOWN})?(?:,?\s+{_POSTCODE})?"
_FRENCH_LINK = r"(?:de\s+la\s+|de\s+l['\u2019]\s*|du\s+|des\s+|de\s+|d['\u2019])?"
_ROMANCE_LINK = r"(?:de\s+(?:la\s+|los\s+|las\s+)?|del\s+|da\s+|do\s+|das\s+|dos\s+|dei\s+|della\s+)?"
_NUMBER_ENDS = r"(?=\s*(?:[,.;:!?)\n]|$|\d{4,5}\b))"

_STYLES = {
    "english": (
        r"(?<![\w.,-])\d{1,5}[A-Za-z]?,?\s+(?:[NSEW]\.?\s+)?"
        rf"(?:{_NAME}\s+){{1,3}}{_ENGLISH_STREET}{_AFTER_ENGLISH}"
    ),
    "english after a cue": (
        r"(?i:(?:live|lives|living|address is|house is|stay|staying|ship it|ship them|deliver it)\s+(?:at|to|is)?\s*)"
        r"(?P<address>\d{1,5}\s+(?:\w+\s+){1,3}(?i:street|st|avenue|ave|road|rd|lane|drive|court|square|way|close)\b)"
    ),
    "german": (
        r"\b(?:[A-ZÄÖÜ][\wäöüß-]*(?:straße|strasse|str\.|weg|gasse|allee|platz|ring|damm|ufer|steig)|"
        r"[A-ZÄÖÜ][\wäöüß-]+er\s(?:Straße|Strasse|Str\.|Weg|Allee|Platz|Ring|Damm|Ufer))\s+\d{1,4}\s?[a-h]?\b"
        r"(?!\s*(?:Stunde|Minute|Kilometer|km|Uhr|Mal|mal|Tag|Euro|€|Leute|Jahr|Prozent|%|\.\d|:\d))"
        rf"(?:(?:,\s*|\s+(?:in\s+)?)(?:[A-Z]{{1,2}}-)?\d{{4,5}}\s+{_NAME})?"
    ),
    "german with a postcode": (
        rf"\b(?:Am|An der|Im|Zum|Zur|Unter den)\s+{_NAME}\s+\d{{1,4}}\s?[a-h]?,?\s+"
        rf"(?:in\s+)?(?:[A-Z]{{1,2}}-)?\d{{5}}\s+{_NAME}"
    ),
    "dutch": (
        r"\b[A-Z][\w-]*(?:straat|laan|gracht|plein|kade|singel|dijk)\s+\d{1,4}\s?[a-h]?\b"
        rf"(?:,?\s*\d{{4}}\s?[A-Z]{{2}}\s+{_NAME})?"
    ),
    "french": (
        r"(?<![\w.,-])\d{1,4}(?:\s?(?:bis|ter))?,?\s+(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Bb]d|[Pp]lace|[Ii]mpasse|"
        rf"[Aa]llée|[Cc]hemin|[Qq]uai)\s+{_FRENCH_LINK}{_NAME}(?:[ -](?:(?:de|du|des|la)[ -])?{_NAME})*"
        rf"(?:,?\s*(?:à\s+)?\d{{5}}\s+{_NAME})?"
    ),
    "spanish": (
        rf"\b(?:[Cc]alle|[Cc]/|[Aa]venida|[Aa]vda\.?|[Pp]laza|[Pp]aseo)\s*{_ROMANCE_LINK}{_NAME}(?:\s+(?:de\s+)?{_NAME})*"
        rf",?\s+(?:n[.ºo°]+\s*)?\d{{1,4}}\b(?:,?\s*\d{{1,2}}[ºª°]\s?\w?)?(?:,?\s*\d{{5}}\s+{_NAME})?"
    ),
    "italian": (
        rf"\b(?:Via|Viale|Piazza|Corso|Vicolo|[Vv]iale|[Pp]iazza)\s+{_ROMANCE_LINK}{_NAME}(?:\s+{_NAME})*,?\s+\d{{1,4}}"
        rf"{_NUMBER_ENDS}(?:,?\s*\d{{5}}\s+{_NAME})?"
    ),
    "portuguese": (
        rf"\b(?:[Rr]ua|[Tt]ravessa|[Pp]raça|[Ll]argo|[Aa]venida|[Aa]v\.)\s+{_ROMANCE_LINK}{_NAME}(?:\s+(?:d[aeo]s?\s+)?{_NAME})*"
        rf",?\s+(?:n[.ºo°]+\s*)?\d{{1,5}}\b(?:,?\s*\d{{4,5}}-\d{{3}}(?:\s+{_NAME})?)?"
    ),
    "polish": (
        rf"\b(?:ul|al|pl)\.\s+{_NAME}(?:\s+{_NAME})?\s+\d{{1,4}}[a-h]?(?:/\d{{1,4}})?"
        rf"(?:,?\s*\d{{2}}-\d{{3}}\s+{_NAME})?"
    ),
    "post box": r"\b(?:P\.?\s?O\.?\s*Box|Postfach|Apartado(?: de correos)?|Boîte postale)\s+\d{1,6}\b",
}
_PATTERNS = tuple(re.compile(pattern) for pattern in _STYLES.values())


def find_addresses(text: str) -> Iterator[Finding]:
    """Yield the street addresses and post boxes in ``text``.

    Example:
        >>> text = "Send it to 12 Maple Street, Springfield, IL 62704 please."
        >>> [text[f.start : f.end] for f in find_addresses(text)]
        ['12 Maple Street, Springfield, IL 62704']
    """
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            group = "address" if "address" in pattern.groupindex else 0
            yield Finding("address", match.start(group), match.end(group))
