"""The offline model: real detectors and rules behind the interface of a language model.

It recognises a question by its wording, in the part of the prompt before the text asked about, so nothing that a user
writes can change what is asked. The same prompt always gets the same answer.
"""

from __future__ import annotations

from examples.moderation.answers import blog, hiring, moderation, reviews
from examples.moderation.answers.prompt import Skill, split_prompt
from flowcraft_dagster.errors import FatalNodeError

SKILLS: tuple[Skill, ...] = (*reviews.SKILLS, *hiring.SKILLS, *blog.SKILLS, *moderation.SKILLS)
"""Everything it can answer, in the order in which the questions are tried."""


class RuleModel:
    r"""Answers the prompts of the example blueprints without network, keys or randomness.

    Example:
        >>> import asyncio
        >>> question = "Does this contain personal data? Answer true or false."
        >>> asyncio.run(RuleModel().complete(f'{question}\n\nText: "Write to jane@example.com"'))
        'true'
    """

    async def complete(self, prompt: str) -> str:
        """Answer ``prompt``.

        Raises:
            FatalNodeError: the question is none of :data:`SKILLS`.
        """
        parts = split_prompt(prompt)
        for skill in SKILLS:
            if skill.asks.search(parts.question):
                return skill.answer(parts)
        known = ", ".join(skill.name for skill in SKILLS)
        raise FatalNodeError(
            f"the offline model does not understand the question {parts.question.strip()[:80]!r}; "
            f"it knows: {known}. Set FLOWCRAFT_MODEL_URL to ask a language model instead"
        )
