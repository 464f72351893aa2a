"""The four node kinds of the blueprints.

All take ``params.promptTemplate`` and ``params.inputs``, see :mod:`.template`:

* ``llm-process``: the output is the model's answer;
* ``llm-condition``: the same, and the action is ``true`` or ``false``;
* ``llm-router``: the same, and the action is the answer;
* ``output``: no model; writes the filled template to the context key ``params.outputKey``.
"""

from __future__ import annotations

from examples.moderation.model import Model
from examples.moderation.template import render_prompt
from flowcraft_dagster.engine.node import NodeContext, NodeResult
from flowcraft_dagster.engine.registry import NodeRegistry
from flowcraft_dagster.errors import FatalNodeError

DEFAULT_OUTPUT_KEY = "final_output"

nodes = NodeRegistry()


async def _ask(ctx: NodeContext) -> str:
    model: Model | None = ctx.dependencies.get("model")
    if model is None:
        raise FatalNodeError("no model: give the app dependencies={'model': ...}, an object with 'complete(prompt)'")
    return await model.complete(render_prompt(ctx))


@nodes.node("llm-process")
async def process(ctx: NodeContext) -> str:
    """Ask the model and hand on its answer."""
    return await _ask(ctx)


@nodes.node("llm-condition")
async def decide(ctx: NodeContext) -> NodeResult:
    """Ask the model a question of yes or no; any answer that contains "true" is a yes."""
    answer = await _ask(ctx)
    return NodeResult(output=answer, action="true" if "true" in answer.lower() else "false")


@nodes.node("llm-router")
async def route(ctx: NodeContext) -> NodeResult:
    """Ask the model which way to go. Quotes and a full stop around its answer are no part of the action."""
    answer = await _ask(ctx)
    return NodeResult(output=answer, action=answer.strip().strip("'\"`.") or None)


@nodes.node("output")
async def write_output(ctx: NodeContext) -> str:
    """Write the filled template to the context.

    Raises:
        FatalNodeError: ``params.outputKey`` is not text.
    """
    key = ctx.params.get("outputKey", DEFAULT_OUTPUT_KEY)
    if not isinstance(key, str) or not key:
        raise FatalNodeError(f"node '{ctx.node_id}', params.outputKey: must be the name of a context key")
    text = render_prompt(ctx)
    ctx.context.set(key, text)
    return text
