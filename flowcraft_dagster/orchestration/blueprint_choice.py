"""Choosing a blueprint in the Launchpad.

Its YAML turns an id such as ``400`` into a number and ``true`` into a boolean, and a field with a list of choices takes
text only. So there is a list where no id can be misread; otherwise the field takes anything, and the id that was meant
is found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.blueprint import Blueprint

_WORDS: Final = frozenset({"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_NUMBER_START: Final = re.compile(r"[-+.\d]")
MOST_LISTED: Final = 50
EXAMPLE_CONTEXT: Final = "exampleContext"
"""Key of a blueprint's metadata: a context that launchpads offer."""


def make_choice_field(blueprint_ids: Iterable[str], default: str | None) -> dg.Field:
    """The config field that names a blueprint.

    Args:
        blueprint_ids: what can be chosen.
        default: the id that stands there at first; None makes the field required.
    """
    ids = sorted(blueprint_ids)
    kind: Any = str
    if ids:
        is_text = not any(id_.lower() in _WORDS or _NUMBER_START.match(id_) for id_ in ids)
        kind = dg.Enum("FlowcraftBlueprint", [dg.EnumValue(id_) for id_ in ids]) if is_text else dg.Any
    listed = ", ".join(ids[:MOST_LISTED]) + (f" and {len(ids) - MOST_LISTED} more" if len(ids) > MOST_LISTED else "")
    description = f"The blueprint to run. Known: {listed or 'none'}."
    if default is None:
        return dg.Field(kind, description=description)
    return dg.Field(kind, description=description, default_value=default, is_required=False)


def match_blueprint_id(value: object, known: Iterable[str]) -> str:
    """The blueprint id that a value from YAML means.

    Args:
        value: text, or what YAML made of it.
        known: all ids.

    Returns:
        One of ``known`` where one is meant, otherwise the value as text.

    Example:
        >>> match_blueprint_id(400, ["400", "blog"]), match_blueprint_id(True, ["true"]), match_blueprint_id(1.5, [])
        ('400', 'true', '1.5')
    """
    if isinstance(value, str):
        return value
    known = list(known)
    if isinstance(value, bool) or value is None:
        word = "null" if value is None else str(value).lower()
        return next((id_ for id_ in known if id_.lower() == word), word)
    if isinstance(value, (int, float)):
        if str(value) in known:
            return str(value)
        return next((id_ for id_ in known if _read_number(id_) == value), str(value))
    return str(value)


def find_default(blueprints: Mapping[str, Blueprint]) -> str | None:
    """The blueprint to offer first: if there is one, one with an example that is no other's sub-flow."""
    children = {
        node.params.get("blueprintId")
        for blueprint in blueprints.values()
        for node in blueprint.nodes
        if node.kind == "subflow"
    }
    ranked = sorted(blueprints.values(), key=lambda found: (found.id in children, not find_example(found)))
    return ranked[0].id if ranked else None


def find_example(blueprint: Blueprint) -> dict[str, Any]:
    """The context that a blueprint offers as an example in its metadata; empty where it offers none."""
    example = blueprint.metadata.get(EXAMPLE_CONTEXT)
    return dict(example) if isinstance(example, Mapping) else {}


def _read_number(text: str) -> float | None:
    try:
        return float(int(text, 0)) if text[:2].lower() in ("0x", "0o") else float(text)
    except ValueError:
        return None
