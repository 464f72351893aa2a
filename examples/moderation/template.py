"""Prompts with ``{{name}}`` places, and where their values come from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from flowcraft_dagster.engine.node import NodeContext, RunContext
from flowcraft_dagster.engine.values import UNDEFINED, Undefined, to_text
from flowcraft_dagster.errors import FatalNodeError

# JavaScript's \w: the format comes from there.
_PLACE = re.compile(r"\{\{([A-Za-z0-9_]+)\}\}")


def render_value(value: Any) -> str:
    """Write a value into a prompt: text as it is, nothing for null, JSON for objects and lists.

    Example:
        >>> render_value("a"), render_value(None), render_value(True), render_value({"n": [1, 2]})
        ('a', '', 'true', '{"n":[1,2]}')
    """
    if value is None or isinstance(value, Undefined):
        return ""
    if isinstance(value, (Mapping, list, tuple)):
        return orjson.dumps(value).decode()
    return to_text(value)


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """Put ``values`` into the places of ``template``; a place without a value becomes empty.

    The text of a value is never searched for places again.

    Example:
        >>> fill_template("Hello {{name}}{{missing}}", {"name": "{{x}}"})
        'Hello {{x}}'
    """
    return _PLACE.sub(lambda match: render_value(values.get(match[1])), template)


def resolve_inputs(context: RunContext, inputs: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Look up what the places of a prompt stand for.

    Args:
        context: the run's context.
        inputs: for each place a node id or context key, or several of which the first present one counts. A node's
            output goes before a context key of the same name.

    Returns:
        The values by place; "" where nothing is present.
    """
    return {
        place: _find_first(context, [names] if isinstance(names, str) else names) for place, names in inputs.items()
    }


def _find_first(context: RunContext, names: Sequence[str]) -> Any:
    for name in names:
        for key in (f"_outputs.{name}", name):
            value = context.read(key)
            if value is not UNDEFINED:
                return value
    return ""


def render_prompt(ctx: NodeContext) -> str:
    """The node's ``params.promptTemplate``, filled with what ``params.inputs`` names.

    Raises:
        FatalNodeError: the parameters have another form.
    """
    template = ctx.params.get("promptTemplate")
    if not isinstance(template, str):
        raise FatalNodeError(f"node '{ctx.node_id}', params.promptTemplate: must be text with {{{{name}}}} places")
    inputs = ctx.params.get("inputs", {})
    if not _is_mapping_of_names(inputs):
        raise FatalNodeError(f"node '{ctx.node_id}', params.inputs: must map each place to a name or a list of names")
    return fill_template(template, resolve_inputs(ctx.context, inputs))


def _is_mapping_of_names(inputs: Any) -> bool:
    return isinstance(inputs, Mapping) and all(
        isinstance(names, str) or (isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names))
        for names in inputs.values()
    )
