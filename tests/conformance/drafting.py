"""A short notation for cases: nodes as calls, edges as text, and what the author expects.

Edges are written `a > b > c`, the last step of a line with `[action]`, `{condition}` and `| transform`, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Blueprint = dict[str, object]
ABSENT = object()

_LINE = re.compile(r"([\w/]+(?: > [\w/]+)+)(?: \[(.*?)\])?(?: \{(.*)\})?(?: \|(.*))?")


@dataclass(frozen=True)
class Rule:
    """One rule of the design.

    Attributes:
        id: Stable name.
        sentence: What the design says.
        catches: The kind of bug that its cases find.
    """

    id: str
    sentence: str
    catches: str


@dataclass(frozen=True)
class Draft:
    """A case whose expectations are the author's own; a whole case is made of it by `tests.conformance.generate`."""

    rule: str
    label: str
    blueprints: Mapping[str, Blueprint]
    want: Mapping[str, object]
    context: Mapping[str, object] = field(default_factory=dict)
    resume: Sequence[Mapping[str, object]] | None = None


def node(
    name: str,
    uses: str,
    *,
    inputs: object = None,
    config: Mapping[str, object] | None = None,
    fallback: str | None = None,
    retries: int | None = None,
    timeout: int | None = None,
    join: str | None = None,
    **params: object,
) -> dict[str, object]:
    """Write a node; further keywords are its parameters."""
    settings = {"joinStrategy": join, "maxRetries": retries, "timeout": timeout, "fallback": fallback}
    whole = {**{key: value for key, value in settings.items() if value is not None}, **(config or {})}
    found: dict[str, object] = {"id": name, "uses": uses}
    if params:
        found["params"] = params
    if inputs is not None:
        found["inputs"] = inputs
    if whole:
        found["config"] = whole
    return found


def flow(nodes: Sequence[Mapping[str, object]], *lines: str, entry_points: Sequence[str] = ()) -> Blueprint:
    """Write a blueprint; its id is given later."""
    edges: list[dict[str, object]] = []
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"cannot read the edge {line!r}")
        chain, action, condition, transform = found.groups()
        names = chain.split(" > ")
        edges.extend({"source": a, "target": b} for a, b in pairwise(names))
        given = {"action": action, "condition": condition, "transform": transform}
        edges[-1].update({key: value.strip() for key, value in given.items() if value is not None})
    blueprint: Blueprint = {"nodes": [dict(one) for one in nodes], "edges": edges}
    if entry_points:
        blueprint["metadata"] = {"cycleEntryPoints": list(entry_points)}
    return blueprint


def draft(
    rule: str,
    label: str,
    blueprint: Blueprint,
    want: Mapping[str, object],
    *,
    context: Mapping[str, object] | None = None,
    resume: Sequence[Mapping[str, object]] | None = None,
    subs: Mapping[str, Blueprint] | None = None,
) -> Draft:
    """Write a case.

    Args:
        rule: Id of its rule.
        label: What tells it from the rule's other cases.
        blueprint: The blueprint that runs.
        want: What the author expects, in part: `status` (completed unless given), `first`, and what `outputs`,
            `context` and `ran` (executions) hold among other things, where `ABSENT` or 0 means absent; `failed`,
            `skipped` and `workers` in whole.
        context: Initial context.
        resume: What happens each time the run awaits.
        subs: Blueprints of sub-flows by the name that `sub` uses.
    """
    return Draft(rule, label, {"main": blueprint, **(subs or {})}, want, context or {}, resume)


def const(name: str, value: object, **rest: object) -> dict[str, object]:
    """Write a `const` node."""
    return _any(name, "const", value=value, **rest)


def echo(name: str, **rest: object) -> dict[str, object]:
    """Write an `echo` node."""
    return _any(name, "echo", **rest)


def add(name: str, by: int = 1, **rest: object) -> dict[str, object]:
    """Write an `add` node."""
    return _any(name, "add", by=by, **rest)


def concat(name: str, suffix: str, **rest: object) -> dict[str, object]:
    """Write a `concat` node."""
    return _any(name, "concat", suffix=suffix, **rest)


def pick(name: str, key: str, **rest: object) -> dict[str, object]:
    """Write a `pick` node."""
    return _any(name, "pick", key=key, **rest)


def put(name: str, key: str, *value: object, **rest: object) -> dict[str, object]:
    """Write a `put` node, with or without a value."""
    return _any(name, "put", key=key, **({"value": value[0]} if value else {}), **rest)


def route(name: str, action: str, **rest: object) -> dict[str, object]:
    """Write a `route` node."""
    return _any(name, "route", action=action, **rest)


def collect(name: str, *ids: str, **rest: object) -> dict[str, object]:
    """Write a `collect` node."""
    return _any(name, "collect", ids=list(ids), **rest)


def counter(name: str, key: str, **rest: object) -> dict[str, object]:
    """Write a `counter` node."""
    return _any(name, "counter", key=key, **rest)


def fail(name: str, **rest: object) -> dict[str, object]:
    """Write a `fail` node."""
    return _any(name, "fail", **rest)


def slow(name: str, ms: int, value: object, **rest: object) -> dict[str, object]:
    """Write a `slow` node."""
    return _any(name, "slow", ms=ms, value=value, **rest)


def flaky(name: str, times: int, value: object, **rest: object) -> dict[str, object]:
    """Write a `flaky` node."""
    return _any(name, "flaky", times=times, value=value, **rest)


def loop(name: str, condition: str, **rest: object) -> dict[str, object]:
    """Write a loop controller."""
    return _any(name, "loop-controller", condition=condition, **{"join": "any", **rest})


def sub(name: str, blueprint: str, **rest: object) -> dict[str, object]:
    """Write a sub-flow node; `map_inputs` and `map_outputs` are its parameters `inputs` and `outputs`."""
    params: dict[str, object] = {"blueprintId": blueprint}
    for short in ("inputs", "outputs"):
        if f"map_{short}" in rest:
            params[short] = rest.pop(f"map_{short}")
    found = _any(name, str(rest.pop("uses", "subflow")), **rest)
    return {**found, "params": params}


def batch(name: str, worker: str, source: object, **rest: object) -> list[dict[str, object]]:
    """Write the scatter and the gather that the builder makes of a batch; `rest` adds parameters."""
    config = {key: rest.pop(key) for key in ("fallback",) if key in rest}
    gather = f"{name}_gather"
    shared = {"outputKey": rest.pop("output_key", f"{name}_out"), "gatherNodeId": gather}
    shared = {key: value for key, value in shared.items() if value is not None}
    scatter = _any(f"{name}_scatter", "batch-scatter", inputs=source, workerUsesKey=worker, **shared, **rest, **config)
    return [scatter, _any(gather, "batch-gather", join="all", **shared)]


def _any(name: str, uses: str, **rest: object) -> dict[str, object]:
    return node(name, uses, **rest)  # type: ignore[arg-type]
