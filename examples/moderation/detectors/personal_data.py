"""All kinds of personal data together: find them, or black them out."""

from __future__ import annotations

import re

from examples.moderation.detectors.address import find_addresses
from examples.moderation.detectors.email import find_emails
from examples.moderation.detectors.finding import Finding, drop_nested, merge_spans
from examples.moderation.detectors.payment import find_payment_data
from examples.moderation.detectors.phone import find_phones

MARK = "[REDACTED]"
"""What stands in a redacted text instead of personal data."""

_DIGIT = re.compile(r"\d")


def find_personal_data(text: str) -> list[Finding]:
    """Find e-mail addresses, phone numbers, cards, bank accounts, identity numbers and street addresses.

    Returns:
        The findings by place. None lies inside another.
    """
    findings = list(find_emails(text))
    if _DIGIT.search(text):
        # Exact check digits come before shapes, so that a card is not reported as a phone number.
        findings += [*find_payment_data(text), *find_phones(text), *find_addresses(text)]
    return drop_nested(findings)


def redact(text: str) -> str:
    """Replace all personal data in ``text`` by :data:`MARK`.

    Example:
        >>> redact("Write to jane@example.com or call (212) 555-0123.")
        'Write to [REDACTED] or call [REDACTED].'
    """
    parts: list[str] = []
    position = 0
    for start, end in merge_spans(find_personal_data(text)):
        parts += [text[position:start], MARK]
        position = end
    return "".join([*parts, text[position:]])
