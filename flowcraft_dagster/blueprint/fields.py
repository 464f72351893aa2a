"""Reading single fields of a blueprint document, noting every problem instead of stopping at the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from flowcraft_dagster.blueprint.json_copy import copy_json, is_unicode
from flowcraft_dagster.errors import BlueprintError, ExpressionError, SerializationError

CheckExpression = Callable[[str], object]
"""Parses an expression and raises ExpressionError if it cannot."""

MAX_NAME_LENGTH: Final = 1000
"""Characters of an id or node kind; they become parts of keys in every store."""

_SHOWN_LENGTH: Final = 200


def shorten(text: str, limit: int = _SHOWN_LENGTH) -> str:
    """Cut text from a document to what fits in one line of an error."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe(value: object) -> str:
    """Name the JSON type of a value, never the value itself: it may be a secret."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else f"of type {type(value).__name__}"


@dataclass(frozen=True)
class Place:
    """Where in a document something is read, and the list that takes what is wrong there.

    Attributes:
        problems: grows by one for every problem; shared by all places of a document.
        blueprint_id: for the errors.
        node_id: the node read here, if its id is known.
        edge: the edge read here as ``source -> target``.
        prefix: put before field names where neither says it all, such as ``nodes[3].``.
        check_expression: parses expressions; None leaves them unchecked.
    """

    problems: list[BlueprintError] = field(default_factory=list)
    blueprint_id: str = "?"
    node_id: str | None = None
    edge: str | None = None
    prefix: str = ""
    check_expression: CheckExpression | None = None

    def at(self, *, node_id: str | None = None, edge: str | None = None, prefix: str = "") -> Place:
        """The same document at another node, edge or level."""
        return replace(self, node_id=node_id, edge=edge, prefix=prefix)

    def refuse(self, name: str | None, reason: str) -> None:
        """Note that field ``name`` (None: the document itself) is wrong."""
        self.problems.append(
            BlueprintError(
                reason,
                blueprint_id=shorten(self.blueprint_id),
                node_id=self.node_id,
                edge=self.edge,
                field=None if name is None else shorten(self.prefix + name),
            )
        )

    def read_text(self, owner: Mapping[str, object], name: str, label: str | None = None) -> str | None:
        """Text; absent, null and wrong values give None."""
        value, label = owner.get(name), label or name
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(label, f"must be text, not {describe(value)}")
            return None
        if not is_unicode(value):
            self.refuse(label, "has a lone surrogate, which UTF-8 cannot hold")
            return None
        return str.__str__(value)

    def read_name(self, owner: Mapping[str, object], name: str, label: str | None = None) -> str | None:
        """Text that must be there, must not be empty and must not be too long."""
        known, label = len(self.problems), label or name
        text = self.read_text(owner, name, label)
        if text is None:
            if len(self.problems) == known:
                self.refuse(label, "is missing")
            return None
        if not text:
            self.refuse(label, "is empty")
            return None
        if len(text) > MAX_NAME_LENGTH:
            self.refuse(label, f"has {len(text)} characters; the limit is {MAX_NAME_LENGTH}")
            return None
        return text

    def read_expression(self, owner: Mapping[str, object], name: str, label: str | None = None) -> str | None:
        """Text that must be an expression; empty text is not checked."""
        text = self.read_text(owner, name, label)
        if text and self.check_expression is not None:
            try:
                self.check_expression(text)
            except ExpressionError as error:
                self.refuse(label or name, f"is not an expression: {shorten(str(error))}")
        return text

    def read_number(
        self, owner: Mapping[str, object], name: str, label: str, *, most: float, least: float = 0
    ) -> float | None:
        """A finite number from ``least`` to ``most``; absent, null and wrong values give None."""
        value = owner.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(label, f"must be a number, not {describe(value)}")
        elif isinstance(value, float) and not math.isfinite(value):
            self.refuse(label, "must be a finite number")
        elif not least <= value <= most:
            self.refuse(label, f"must be from {least:.15g} to {most:.15g}")
        else:
            return value
        return None

    def read_integer(self, owner: Mapping[str, object], name: str, label: str, *, least: int, most: int) -> int | None:
        """A whole number from ``least`` to ``most``; ``2.0`` counts as one, as in JavaScript."""
        value = self.read_number(owner, name, label, least=least, most=most)
        if value is None:
            return None
        if value != int(value):
            self.refuse(label, "must be a whole number")
            return None
        return int(value)

    def read_object(self, owner: Mapping[str, object], name: str) -> dict[str, Any]:
        """A private copy of a JSON object; absent, null and wrong values give an empty one."""
        value = owner.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.refuse(name, f"must be an object, not {describe(value)}")
            return {}
        try:
            copied: dict[str, Any] = copy_json(value, name)
        except SerializationError as error:
            self.refuse(error.path, f"a value of type {error.kind} is not JSON{error.fields['reason']}")
            return {}
        return copied

    def read_names(self, owner: Mapping[str, object], name: str, label: str) -> dict[str, str] | None:
        """An object of text values; absent and null give None."""
        value = owner.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.refuse(label, f"must be an object, not {describe(value)}")
            return None
        names: dict[str, str] = {}
        for key in value:
            if not isinstance(key, str):
                self.refuse(label, "must have text keys only")
                continue
            shown = f"{label}.{key}"
            if value[key] is None:
                self.refuse(shown, "must be text, not null")
            elif (text := self.read_text(value, key, shown)) is not None:
                names[key] = text
        if not is_unicode("".join(names)):
            self.refuse(label, "has a lone surrogate in a key, which UTF-8 cannot hold")
        return names
