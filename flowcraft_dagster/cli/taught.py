"""Commands whose help ends with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class TaughtCommand(click.Command):
    """A command with examples.

    Args:
        settings: as for ``click.Command``.
        examples: command lines, shown as they are.
    """

    def __init__(self, *settings: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*settings, **options)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _write_examples(self.examples, formatter)


class TaughtGroup(click.Group):
    """A group with examples; see :class:`TaughtCommand`."""

    def __init__(self, *settings: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*settings, **options)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _write_examples(self.examples, formatter)


def _write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
