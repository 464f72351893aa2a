"""Payment cards, bank accounts (IBAN) and identity numbers with a known shape.

Check digits come from the library ``python-stdnum``: Luhn for cards (ISO/IEC 7812), modulo 97 for IBAN (ISO 13616).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

from examples.moderation.detectors.finding import Finding

# First digits and lengths of the large card schemes; anything else with a good check digit may be an order number.
_CARD_SHAPE = re.compile(
    r"(?:4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12})"
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{1,4}){3,8}(?!\w)")
_IBAN_LAST_GROUP = re.compile(r"[ -][A-Za-z0-9]+$")
# United States: social security numbers and taxpayer numbers (9xx); 000, 666 and zero groups are never issued.
_US_IDENTITY = re.compile(r"(?<![\w-])(?!000|666)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")


@cache
def _load_luhn() -> Callable[[str], bool]:
    from stdnum import luhn

    return luhn.is_valid


@cache
def _load_iban() -> Callable[[str], bool]:
    from stdnum import iban

    # Made-up national check digits inside a well-formed IBAN still deserve to be hidden.
    return lambda candidate: iban.is_valid(candidate, check_country=False)


def find_payment_data(text: str) -> Iterator[Finding]:
    """Yield cards, bank accounts and identity numbers in ``text``.

    Example:
        >>> text = "My card is 4111 1111 1111 1111."
        >>> [(f.kind, text[f.start : f.end]) for f in find_payment_data(text)]
        [('card', '4111 1111 1111 1111')]
    """
    for match in _CARD.finditer(text):
        digits = match[0].replace(" ", "").replace("-", "")
        if _CARD_SHAPE.fullmatch(digits) and _load_luhn()(digits):
            yield Finding("card", match.start(), match.end())
    for match in _IBAN.finditer(text):
        candidate = match[0]
        while len(candidate) >= 15:
            if _load_iban()(candidate):
                yield Finding("iban", match.start(), match.start() + len(candidate))
                break
            shorter = _IBAN_LAST_GROUP.sub("", candidate)
            if shorter == candidate:
                break
            candidate = shorter
    for match in _US_IDENTITY.finditer(text):
        yield Finding("identity", match.start(), match.end())
