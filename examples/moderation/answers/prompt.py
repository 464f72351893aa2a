"""A prompt in its two parts, so that a post can never be taken for the question about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# What users write begins after the first blank line, or after one of these labels within the first paragraph.
# The earliest place counts, so look-alikes inside the material change nothing.
_BEGINS = re.compile(r"\n\n|\bReview: |\bin one sentence: ")
_WRAPPINGS = (
    re.compile(r"<(?P<tag>post|text)>\n?(?P<inner>.*?)\n?</(?P=tag)>\s*\Z", re.DOTALL),
    re.compile(r"(?:Original )?Text: \"(?P<inner>.*)\"\s*\Z", re.DOTALL),
    re.compile(r"(?:Post|Review):\s(?P<inner>.*)", re.DOTALL),
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt split into question and material.

    Attributes:
        text: the whole prompt.
        question: what comes before the material; all of it when there is none.
        material: the text asked about, such as a post; "" when there is none.
    """

    text: str
    question: str
    material: str


@dataclass(frozen=True, slots=True)
class Skill:
    """A question that the offline model understands.

    Attributes:
        name: for messages.
        asks: found in the question, never looked for in the material.
        answer: turns the prompt into the answer.
    """

    name: str
    asks: re.Pattern[str]
    answer: Callable[[Prompt], str]


def split_prompt(text: str) -> Prompt:
    r"""Split a prompt where the material begins, and unwrap the material.

    Example:
        >>> prompt = split_prompt('Is this spam?\n\nText: "Buy \'now\'!"')
        >>> prompt.question, prompt.material
        ('Is this spam?', "Buy 'now'!")
    """
    begin = _BEGINS.search(text)
    if begin is None:
        return Prompt(text, text, "")
    material = text[begin.end() :]
    for wrapping in _WRAPPINGS:
        if match := wrapping.match(material):
            return Prompt(text, text[: begin.start()], match["inner"])
    return Prompt(text, text[: begin.start()], material)


def cut_between(text: str, start: str, end: str) -> str:
    """What stands between the first ``start`` and the last ``end`` after it; "" when one is missing."""
    _, found, rest = text.partition(start)
    if not found:
        return ""
    inner, found, _ = rest.rpartition(end)
    return inner if found else ""
