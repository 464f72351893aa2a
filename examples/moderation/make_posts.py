"""Writes ``posts.jsonl``: varied posts with the action that moderation should take.

The sentences are in ``post_templates.json``; here is what fills them. Run ``python -m examples.moderation.make_posts``.
The seed is fixed, so the same posts come out each time; another seed (``--seed 2``) gives other combinations for a
second opinion. All people are made up. Web and e-mail addresses use reserved domains (RFC 2606), phone numbers use
ranges kept for fiction, cards are the schemes' published test numbers, IBANs the published specimens.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

POSTS: Final = Path(__file__).with_name("posts.jsonl")
DEFAULT_SEED: Final = 11

_TEMPLATES: Final = Path(__file__).with_name("post_templates.json")


@dataclass(frozen=True, slots=True)
class Post:
    """One line of the file.

    Attributes (named as the blueprints name them):
        userId: made-up account.
        userPost: the text.
        expected: ``ban``, ``redact``, ``spam`` or ``approve``.
        kind: what makes it so, for figures by kind.
        lang: language code.
    """

    userId: str
    userPost: str
    expected: str
    kind: str
    lang: str


Maker = Callable[[str], tuple[str, str]]
"""Makes text and kind from a template."""


@cache
def _load_templates() -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(_TEMPLATES.read_bytes())
    return document


class PostWriter:
    """Fills templates by a seeded generator.

    Attributes:
        chance: the generator; nothing else decides.
        drafts: what has been written, in order.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.drafts: dict[str, Post] = {}
        self._slots: dict[str, list[str]] = _load_templates()["slots"]

    def pick(self, slot: str) -> str:
        """One of the words for ``slot``."""
        return self.chance.choice(self._slots[slot])

    def fill(self, template: str, **values: str) -> str:
        """Put words into the slots of ``template``."""
        words = {slot: self.pick(slot) for slot in self._slots}
        words |= {"name": f"{words['first']} {words['last']}", "n": str(self.chance.randint(11, 240))}
        words |= {"d": str(self.chance.randint(1, 9)), "ssn": f"987-65-43{self.chance.randint(20, 29)}"}
        words |= {"Group": words["group"].capitalize(), "Gruppe": words["gruppe"]}
        return template.format_map(words | values)

    def add(
        self, expected: str, templates: Mapping[str, Sequence[str]], make: Callable[[str], Maker], more: int = 0
    ) -> None:
        """Write a post for each template and ``more`` for templates picked at random; the same text only once.

        Args:
            expected: the label.
            templates: by language.
            make: gives the maker for a language.
            more: further posts.
        """
        pairs = [(language, template) for language, group in templates.items() for template in group]
        for language, template in pairs + [self.chance.choice(pairs) for _ in range(more)]:
            text, kind = make(language)(template)
            self.drafts.setdefault(text, Post("", text, expected, kind, language))

    # -- makers --------------------------------------------------------------------------------------------------

    def plain(self, kind: str) -> Callable[[str], Maker]:
        """Posts that are the filled template and no more."""
        return lambda _language: lambda template: (self.fill(template), kind)

    def contact(self, _language: str) -> Maker:
        """Posts with an e-mail address or a phone number."""

        def make(template: str) -> tuple[str, str]:
            contact, kind = self._write_email() if self.chance.random() < 0.45 else self._write_phone()
            return self.fill(template, contact=contact), kind

        return make

    def street(self, language: str) -> Maker:
        """Posts with a street address as the language's country writes it."""

        def make(template: str) -> tuple[str, str]:
            address = self.chance.choice(_load_templates()["streets"][language]).format(n=self.chance.randint(1, 180))
            return self.fill(template, address=address), "address"

        return make

    def payment(self, _language: str) -> Maker:
        """Posts with a card, an account or an identity number."""
        return lambda template: (
            self.fill(template),
            next(kind for kind in ("card", "iban", "ssn") if f"{{{kind}}}" in template),
        )

    def spam_with_phone(self, _language: str) -> Maker:
        """Spam with a phone number: personal data goes before spam in the rules of triage."""
        return lambda template: (f"{self.fill(template)} Call {self._write_phone()[0]}", "spam-with-phone")

    def hate_with_email(self, _language: str) -> Maker:
        """Hate speech with an e-mail address: the ban goes before redaction."""
        return lambda template: (f"{self.fill(template)} {self._write_email()[0]}", "hate-with-email")

    def _write_email(self) -> tuple[str, str]:
        local = self.chance.choice(["{f}.{l}", "{f}_{l}{n}", "{f}+list", "{f}{n}", "{f}-{l}"]).format(
            f=self.pick("first").lower(), l=self.pick("last").lower(), n=self.chance.randint(1, 99)
        )
        domain = self.pick("domain")
        if self.chance.random() >= 0.25:
            return f"{local}@{domain}", "email"
        at, dot = self.chance.choice([("(at)", "(dot)"), ("[at]", "[dot]"), ("at", "dot")])
        return f"{local} {at} {domain.replace('.', f' {dot} ')}", "email-written-out"

    def _write_phone(self) -> tuple[str, str]:
        """A number out of a range kept for fiction, and the kind."""
        n, area = self.chance.randint(0, 99), self.pick("us_area")
        american = (f"({area}) 555-01{n:02}", f"{area}-555-01{n:02}", f"+1 {area} 555 01{n:02}", f"{area}.555.01{n:02}")
        forms = {
            "phone-us": american,
            "phone-gb": (f"+44 20 7946 0{n:03}", f"020 7946 0{n:03}", f"+44 7700 900{n:03}"),
            "phone-de": (f"030 23125 {n:03}", f"+49 30 23125{n:03}", f"+49 171 39200{n:02}", f"030/23125-{n:03}"),
            "phone-fr": (f"01 99 00 12 {n:02}", f"+33 6 39 98 12 {n:02}"),
            "phone-au": (f"0491 570 15{n % 7}", "+61 491 570 156"),
            "phone-se": (f"070-174 06 {5 + n % 95:02}", f"+46 8 465 004 {n:02}"),
        }
        kind = self.chance.choice(list(forms))
        return self.chance.choice(forms[kind]), kind


def write_posts(seed: int = DEFAULT_SEED) -> list[Post]:
    """Make the posts for ``seed``: each template once, and more from the larger groups.

    Returns:
        About 300 posts in random order.
    """
    templates = _load_templates()
    writer = PostWriter(seed)
    writer.add("approve", templates["clean"], writer.plain("clean"), more=45)
    writer.add("approve", templates["rough"], writer.plain("rough"), more=4)
    writer.add("redact", templates["contact"], writer.contact, more=26)
    for language, group in templates["address"].items():
        writer.add("redact", {language: group}, writer.street, more=1)
    writer.add("redact", templates["payment"], writer.payment, more=5)
    writer.add("redact", {"en": templates["spam"]["en"][:3]}, writer.spam_with_phone)
    writer.add("spam", templates["spam"], writer.plain("spam"), more=28)
    writer.add("ban", templates["hate"], writer.plain("hate"), more=22)
    writer.add("ban", {"en": templates["hate"]["en"][:2]}, writer.hate_with_email)
    for hard in templates["hard"]:
        # What the detectors are known or likely to miss: kept in, so that the figures stay honest.
        writer.add(hard["expected"], {hard["lang"]: [hard["text"]]}, writer.plain("hard"))
    posts = list(writer.drafts.values())
    writer.chance.shuffle(posts)
    return [replace(post, userId=f"user-{number:04}") for number, post in enumerate(posts, start=1)]


def main() -> None:
    """Write the file that is named on the command line, by default the one that is shipped."""
    parser = argparse.ArgumentParser(description="Write example posts as JSON lines.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--out", type=Path, default=POSTS)
    arguments = parser.parse_args()
    posts = write_posts(arguments.seed)
    arguments.out.write_bytes(b"".join(orjson.dumps(asdict(post)) + b"\n" for post in posts))
    print(f"{len(posts)} posts written to {arguments.out}")


if __name__ == "__main__":
    main()
