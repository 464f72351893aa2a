"""The model behind the nodes: anything that completes a prompt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol


class Model(Protocol):
    """Answers prompts. Nodes find it among their dependencies under ``model``."""

    async def complete(self, prompt: str) -> str:
        """The model's answer to ``prompt``.

        Raises:
            FatalNodeError: another attempt cannot help, for example because the key is refused.
            Exception: anything else may pass; the node's retries and fallback apply.
        """
        ...


def choose_model(environ: Mapping[str, str] | None = None) -> Model:
    """The remote model when ``FLOWCRAFT_MODEL_URL`` is set, otherwise the offline one.

    Args:
        environ: variables to read; those of the process by default.

    Raises:
        SettingsError: a variable has no usable value.
    """
    environ = os.environ if environ is None else environ
    if environ.get("FLOWCRAFT_MODEL_URL", "").strip():
        # The HTTP library is loaded only where it is needed.
        from examples.moderation.openai_model import OpenAIModel

        return OpenAIModel.from_env(environ)
    from examples.moderation.rule_model import RuleModel

    return RuleModel()
