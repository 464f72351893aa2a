"""Phone numbers of many countries, judged by the library ``phonenumbers`` (Google's numbering plans).

Patterns propose candidates in four shapes, so that the library is asked only about text that can be a number:

1. international, ``+49 30 23125 042`` or ``0049 ...``: taken when its length is possible in that country;
2. North American, ``(212) 555-0123``: taken when valid there;
3. national with a leading 0, ``0491 570 156``: taken when valid in one of :data:`TRUNK_ZERO_REGIONS`;
4. any seven to fifteen digits shortly after a word such as "call" or "Telefon".

Order numbers, dates and book numbers are not taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType

from examples.moderation.detectors.finding import Finding

TRUNK_ZERO_REGIONS = ("GB", "DE", "FR", "AU", "SE", "NL", "IT", "IE", "CH", "AT", "BE", "JP")
"""Countries whose national numbers begin with 0 and are tried for numbers without a country code."""

_SEPARATOR = r"[ \u00a0().\-/\u2011]{0,3}"
_ENOUGH_DIGITS = re.compile(r"(?:\d[ \u00a0().\-/\u2011]{0,3}){7}")
_INTERNATIONAL = re.compile(rf"(?<![\w+])(?:\+|00)[ ]?\(?[1-9](?:{_SEPARATOR}\d){{6,14}}(?!\d)")
_NORTH_AMERICAN = re.compile(
    r"(?<![\w+.,-])(?:1[-. ])?(?:\([2-9]\d{2}\)[-. ]?|[2-9]\d{2}[-. ])\d{3}[-. ]\d{4}(?![\w-])"
)
_TRUNK_ZERO = re.compile(rf"(?<![\w+.,/-])\(?0[1-9](?:{_SEPARATOR}\d){{6,11}}(?![\d-])")
_CUED = re.compile(
    r"\b(?:tel|phone|telephone|call|ring|text|sms|mobile|cell|handy|telefon|whatsapp|fax|number is|anrufen|"
    r"téléphone|appelle[rz]?|appelez|portable|teléfono|móvil|llám[ae]me|llamar|telefono|cellulare|chiama(?:mi|re)?|"
    r"telemóvel|telefone|liga|bel me|telefoon|zadzwoń|numer)\b"
    rf"(?P<between>[^\d\n+]{{0,25}})(?P<number>\(?\d(?:{_SEPARATOR}\d){{6,14}})(?!\d)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"(?:isbn|order|ticket|invoice|case|ref(?:erence)?|tracking|serial|version|bestellung|rechnung|commande|pedido|#)"
    r"[\w\s.:#-]{0,12}$",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?!\d)")
_LAST_GROUP = re.compile(r"[ \u00a0().\-/\u2011]+\d+$")


@cache
def _library() -> ModuleType:
    # Takes about 0.1 s to import, so only a post with a candidate pays for it.
    import phonenumbers

    return phonenumbers


def find_phones(text: str) -> Iterator[Finding]:
    """Yield the phone numbers in ``text``; a number may be reported by more than one shape.

    Example:
        >>> text = "Ring me on +44 20 7946 0123, it is about order 55512345."
        >>> [text[f.start : f.end] for f in find_phones(text)]
        ['+44 20 7946 0123']
    """
    if not _ENOUGH_DIGITS.search(text):
        return
    for match in _INTERNATIONAL.finditer(text):
        yield from _accept(match[0], match.start(), [None], strict=False)
    for match in _NORTH_AMERICAN.finditer(text):
        if not _is_reference(text, match.start()):
            yield from _accept(match[0], match.start(), ["US"], strict=True)
    for match in _TRUNK_ZERO.finditer(text):
        grouped = not match[0].isdigit()
        if grouped and not _is_reference(text, match.start()) and not _DATE.match(match[0]):
            yield from _accept(match[0], match.start(), TRUNK_ZERO_REGIONS, strict=True)
    for match in _CUED.finditer(text):
        if not _REFERENCE.search(match["between"]) and not _DATE.match(match["number"]):
            yield Finding("phone", match.start("number"), match.end("number"))


def _is_reference(text: str, start: int) -> bool:
    return _REFERENCE.search(text, max(0, start - 30), start) is not None


def _accept(candidate: str, start: int, regions: Iterable[str | None], *, strict: bool) -> Iterator[Finding]:
    """Take the longest run of digit groups that is a number in one of ``regions``.

    What follows a number may look like part of it ("+1 212 555 0123 5 people"), so groups are cut from the end.
    """
    library = _library()
    regions = tuple(regions)
    while sum(map(str.isdigit, candidate)) >= 7:
        spelled = "+" + candidate[2:] if regions == (None,) and candidate.startswith("00") else candidate
        for region in regions:
            try:
                number = library.parse(spelled, region)
            except library.NumberParseException:
                continue
            if library.is_valid_number(number) if strict else library.is_possible_number(number):
                yield Finding("phone", start, start + len(candidate))
                return
        shorter = _LAST_GROUP.sub("", candidate)
        if shorter == candidate:
            return
        candidate = shorter
