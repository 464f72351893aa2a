"""What a program gives an app by mistake is told in its own terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flowcraft_dagster import Flow, Flowcraft
from flowcraft_dagster.errors import NodeNotRegistered, SettingsError, UnknownBlueprint


def greet(ctx: Any) -> str:
    return f"Hello {ctx.input}"


def _make_flow() -> Flow:
    return Flow("hello").node("greet", greet, inputs="name")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda other: Flowcraft(_make_flow(), other), "not a Flow; give several blueprints as a list"),
        (lambda _: Flowcraft(nodes=[greet]), "nodes are implementations by kind, not a list"),  # type: ignore[arg-type]
        (lambda _: Flowcraft(3), "a int is no blueprint, builder, JSON object, file or folder"),  # type: ignore[arg-type]
        (lambda _: Flowcraft(None), "a NoneType is no blueprint"),  # type: ignore[arg-type]
        (lambda _: Flowcraft([_make_flow(), greet]), "a function is no blueprint"),  # type: ignore[list-item]
    ],
)
def test_what_is_no_blueprint_is_told(make: Callable[[Any], Flowcraft], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        make(_make_flow())


@pytest.mark.parametrize(
    ("implementation", "advice"),
    [(3, "Give a function of one argument"), (dict, "Give a function of one argument"), (print, "another name")],
)
def test_what_is_no_node_kind_gets_advice_that_helps(implementation: Any, advice: str) -> None:
    app = Flowcraft(nodes={"greet": greet})
    with pytest.raises(SettingsError) as refused:
        app.node("greet")(implementation)
    assert advice in refused.value.hint
    assert "environment" not in refused.value.hint


def test_misspelt_names_get_those_that_are_close() -> None:
    app = Flowcraft(_make_flow())
    with pytest.raises(UnknownBlueprint) as unknown:
        app.run("helo")
    assert unknown.value.hint.startswith("Did you mean 'hello'? Known: hello.")
    app.add_blueprint({"id": "other", "nodes": [{"id": "a", "uses": "gret"}]})
    with pytest.raises(NodeNotRegistered) as missing:
        app.run("other")
    assert missing.value.hint.startswith("Did you mean 'greet'? Register it with @app.node('gret')")
