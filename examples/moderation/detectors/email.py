"""E-mail addresses, also written out as ``jane (at) example (dot) com``.

A pattern proposes candidates; the library ``email-validator`` decides on their syntax. No name server is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

from examples.moderation.detectors.finding import Finding

# The look-behind keeps a failed attempt from starting again inside the same word: time stays linear.
_PLAIN = re.compile(r"(?<![\w.+%-])([\w.+%-]{1,64}@[\w-]+(?:\.[\w-]+)+)")
_WRITTEN_OUT = re.compile(
    r"(?<![\w.+%-])([\w.+%-]{1,64})\s*(?:[\[({]\s*at\s*[\])}]|\sat\s)\s*"
    r"([\w-]+(?:\s*(?:[\[({]\s*dot\s*[\])}]|\sdot\s)\s*[\w-]+)+)",
    re.IGNORECASE,
)
_DOT = re.compile(r"\s*(?:[\[({]\s*dot\s*[\])}]|\sdot\s)\s*", re.IGNORECASE)


@cache
def _load_validator() -> Callable[[str], bool]:
    # Loaded on first use: most posts have no candidate.
    from email_validator import EmailSyntaxError, validate_email

    def is_address(candidate: str) -> bool:
        try:
            validate_email(candidate, check_deliverability=False, test_environment=True)
        except EmailSyntaxError:
            return False
        return True

    return is_address


def find_emails(text: str) -> Iterator[Finding]:
    """Yield the e-mail addresses in ``text``.

    Example:
        >>> [text[f.start : f.end] for text in ["Ask jane@example.com."] for f in find_emails(text)]
        ['jane@example.com']
    """
    if "@" in text:
        for match in _PLAIN.finditer(text):
            candidate = match[1].lstrip(".").rstrip("-_")
            if _load_validator()(candidate):
                start = match.start(1) + len(match[1]) - len(match[1].lstrip("."))
                yield Finding("email", start, start + len(candidate))
    folded = text.casefold()
    if "dot" in folded and "at" in folded:
        for match in _WRITTEN_OUT.finditer(text):
            if _load_validator()(f"{match[1]}@{_DOT.sub('.', match[2])}"):
                yield Finding("email", match.start(), match.end())
