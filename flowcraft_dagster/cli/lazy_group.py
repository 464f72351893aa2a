"""A group of commands whose modules are imported only when a command is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from flowcraft_dagster.errors import suggest

_COMMAND_CUTOFF = 0.6


@dataclass(frozen=True, slots=True)
class CommandPlace:
    """Where a command is found.

    Attributes:
        target: ``MODULE:ATTR``.
        summary: its line in the group's help.
    """

    target: str
    summary: str


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called.

    Args:
        sections: commands by heading, in the order in which the help shows them.
        settings: as for ``click.Group``.
    """

    def __init__(self, *, sections: Mapping[str, Mapping[str, CommandPlace]], **settings: Any) -> None:
        super().__init__(**settings)
        self._sections = sections
        self._places = {name: place for commands in sections.values() for name, place in commands.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, as the help shows them."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None for an unknown one."""
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module_name, _, attribute = place.target.partition(":")
        command = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place.target} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelled one gets the names that are close to it."""
        name = args[0]
        if name not in self._places and not name.startswith("-"):
            near = suggest(name, self._places, cutoff=_COMMAND_CUTOFF)
            raise click.UsageError(f"there is no command '{name}'. {near}".rstrip(), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, one section after the other, without importing any."""
        width = max(map(len, self._places))
        for heading, commands in self._sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), place.summary) for name, place in commands.items()])
