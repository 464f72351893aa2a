"""Answers about blog posts: an outline, a draft along an outline, and titles for a draft."""

from __future__ import annotations

import re

from examples.moderation.answers.prompt import Prompt, Skill, cut_between

_POINTS = (
    ("Why {topic} matters", "Who is concerned, and what changes for them", "What happens when it is left to chance"),
    ("What {topic} means", "The terms, in plain words", "What it is often mistaken for"),
    ("How to begin with {topic}", "A first step that takes an hour", "How to tell that it worked"),
    ("Mistakes to avoid with {topic}", "Doing everything at once", "Measuring nothing"),
    ("Where {topic} goes from here", "What to watch", "What to read next"),
)
_HEADING = re.compile(r"^(?:#+ |\d+\. )(.+)$", re.MULTILINE)
_BULLET = re.compile(r"^\s*- (.+)$")


def write_outline(topic: str) -> str:
    """An outline in Markdown with five headed points about ``topic``."""
    lines = [f"# {topic[:1].upper()}{topic[1:]}"]
    for number, (heading, *bullets) in enumerate(_POINTS, start=1):
        lines += ["", f"{number}. {heading.format(topic=topic)}", *(f"   - {bullet}" for bullet in bullets)]
    return "\n".join(lines)


def write_draft(outline: str) -> str:
    """A post with a section for each headed point of ``outline`` and a sentence for each bullet."""
    parts: list[str] = []
    for line in outline.splitlines():
        heading, bullet = _HEADING.match(line), _BULLET.match(line)
        if heading:
            parts.append(line if line.startswith("#") else f"\n## {heading[1]}\n")
        elif bullet:
            parts.append(f"{bullet[1]}: this deserves a closer look, because it decides how well the rest goes.")
    return "\n".join(parts).strip() or outline.strip()


def suggest_titles(draft: str) -> str:
    """Five numbered titles made from the first heading of ``draft``."""
    heading = _HEADING.search(draft)
    topic = (heading[1] if heading else draft.strip().split("\n")[0][:60]).strip()
    forms = (
        "{t}: A Practical Guide",
        "{t} Explained in Plain Words",
        "How to Get Started with {t}",
        "5 Things to Know About {t}",
        "{t}: Mistakes to Avoid",
    )
    return "\n".join(f"{number}. {form.format(t=topic)}" for number, form in enumerate(forms, start=1))


def _outline(prompt: Prompt) -> str:
    return write_outline(cut_between(prompt.text, 'topic: "', '".').strip() or "the topic")


SKILLS = (
    Skill("outline", re.compile(r"\A[^\n\"]*\bblog post outline\b", re.I), _outline),
    Skill(
        "draft",
        re.compile(r"\A[^\n]*\bblog post based on the following outline\b", re.I),
        lambda prompt: write_draft(prompt.material),
    ),
    Skill(
        "titles",
        re.compile(r"\A[^\n]*\btitles for the following blog post\b", re.I),
        lambda prompt: suggest_titles(prompt.material),
    ),
)
