"""The node kinds, and how prompts are filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from examples.moderation import nodes as kinds
from examples.moderation.template import fill_template, render_value, resolve_inputs
from flowcraft_dagster.engine.node import NodeContext, NodeResult, RunContext
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import FatalNodeError


class Echo:
    """A model that answers with the prompt, or with what it was told."""

    def __init__(self, answer: str | None = None) -> None:
        self.answer = answer
        self.prompts: list[str] = []

    async def complete(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return prompt if self.answer is None else self.answer


class Values:
    """Context values from a mapping."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def read(self, key: str) -> Any:
        return self._values.get(key, UNDEFINED)

    def keys(self) -> Iterator[str]:
        return iter(self._values)


def make_context(params: Mapping[str, Any], values: Mapping[str, Any] | None = None, model: Any = None) -> NodeContext:
    return NodeContext(
        run_id="run",
        blueprint_id="blueprint",
        node_id="node",
        activation="node",
        attempt=1,
        input=None,
        params=params,
        context=RunContext(Values(values or {})),
        dependencies={} if model is None else {"model": model},
    )


def test_all_four_kinds_are_registered() -> None:
    assert set(kinds.nodes) == {"llm-process", "llm-condition", "llm-router", "output"}


def test_an_output_goes_before_a_context_key_and_the_first_present_name_counts() -> None:
    context = RunContext(Values({"_outputs.a": "output of a", "a": "key a", "b": "key b", "c": None, "_outputs.e": ""}))
    inputs = {"one": "a", "two": ["missing", "b", "a"], "three": "missing", "four": ["c", "b"], "five": ["e", "b"]}
    assert resolve_inputs(context, inputs) == {
        "one": "output of a",
        "two": "key b",
        "three": "",
        "four": None,
        "five": "",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (None, ""),
        (UNDEFINED, ""),
        (True, "true"),
        (3.0, "3"),
        (0.5, "0.5"),
        ([1, "\u00e4"], '[1,"\u00e4"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_values_are_written_sensibly(value: Any, text: str) -> None:
    assert render_value(value) == text


def test_places_are_filled_once_and_unknown_ones_become_empty() -> None:
    filled = fill_template("{{a}} {{b}} {{ a }} {{\u00e4}}|{{missing}}", {"a": "{{b}}", "b": r"\1 \g<0>"})
    assert filled == "{{b}} \\1 \\g<0> {{ a }} {{\u00e4}}|"


async def test_process_hands_on_the_answer() -> None:
    model = Echo()
    ctx = make_context({"promptTemplate": "Say {{word}}", "inputs": {"word": "key"}}, {"key": "hello"}, model)
    assert await kinds.process(ctx) == "Say hello"
    assert model.prompts == ["Say hello"]


@pytest.mark.parametrize(
    ("answer", "action"), [("true", "true"), (" 'True.' ", "true"), ("false", "false"), ("no", "false")]
)
async def test_condition_keeps_the_answer_and_chooses_a_branch(answer: str, action: str) -> None:
    result = await kinds.decide(make_context({"promptTemplate": "?"}, model=Echo(answer)))
    assert result == NodeResult(output=answer, action=action)


@pytest.mark.parametrize(
    ("answer", "action"), [("action_ban", "action_ban"), ("\n`action_ban`.\n", "action_ban"), ("  ", None)]
)
async def test_router_takes_the_answer_as_action(answer: str, action: str | None) -> None:
    result = await kinds.route(make_context({"promptTemplate": "?"}, model=Echo(answer)))
    assert result == NodeResult(output=answer, action=action)


@pytest.mark.parametrize(("params", "key"), [({}, "final_output"), ({"outputKey": "record"}, "record")])
async def test_output_writes_the_context_key_without_a_model(params: dict[str, Any], key: str) -> None:
    ctx = make_context({"promptTemplate": "[{{a}}]", "inputs": {"a": "n"}, **params}, {"n": {"x": 1}})
    assert await kinds.write_output(ctx) == '[{"x":1}]'
    assert dict(ctx.context.writes) == {key: '[{"x":1}]'}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "node 'node', params.promptTemplate: must be text"),
        ({"promptTemplate": 3}, "params.promptTemplate"),
        ({"promptTemplate": "x", "inputs": ["a"]}, "params.inputs"),
        ({"promptTemplate": "x", "inputs": {"a": 3}}, "params.inputs"),
        ({"promptTemplate": "x", "inputs": {"a": ["b", None]}}, "params.inputs"),
        ({"promptTemplate": "x", "outputKey": 3}, "params.outputKey"),
    ],
)
async def test_wrong_parameters_are_named_and_not_retried(params: dict[str, Any], message: str) -> None:
    with pytest.raises(FatalNodeError, match=message.replace(".", r"\.")):
        await kinds.write_output(make_context(params))


async def test_a_missing_model_is_said() -> None:
    with pytest.raises(FatalNodeError, match="no model"):
        await kinds.process(make_context({"promptTemplate": "x"}))
