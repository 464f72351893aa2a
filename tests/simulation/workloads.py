"""Small runs that together use every step of the commit protocol, and how they must end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """A small run and how it must end.

    Attributes:
        blueprints: the first one runs.
        outputs: of the nodes.
        status: how it ends.
        answer: a wait to answer.
        cancel: whether it is cancelled once it waits.
    """

    blueprints: Sequence[Document]
    outputs: Mapping[str, Any]
    status: str = "completed"
    answer: str | None = None
    cancel: bool = False


def _node(name: str, uses: str, inputs: Any = None, config: Document | None = None, **params: Any) -> Document:
    node: Document = {"id": name, "uses": uses, "params": params, "config": config or {}}
    return node if inputs is None else {**node, "inputs": inputs}


def _flow(nodes: Sequence[Document], *edges: str, name: str = "main") -> Document:
    pairs = [edge.split() for edge in edges]
    return {
        "id": name,
        "nodes": list(nodes),
        "edges": [
            {"source": pair[0], "target": pair[1], **({"action": pair[2]} if len(pair) > 2 else {})} for pair in pairs
        ],
    }


_INNER = _flow([_node("x", "add", by=5), _node("y", "add", by=1)], "x y", name="inner")

WORKLOADS = {
    "chain": Workload(
        [_flow([_node("a", "const", value=1), _node("b", "add"), _node("c", "add")], "a b", "b c")],
        {"a": 1, "b": 2, "c": 3},
    ),
    "diamond": Workload(
        [
            _flow(
                [
                    _node("a", "const", value=1),
                    _node("b", "add", by=10),
                    _node("c", "slow", ms=50, value=7),
                    _node("d", "collect", ids=["b", "c"]),
                ],
                *("a b", "a c", "b d", "c d"),
            )
        ],
        {"a": 1, "b": 11, "c": 7, "d": [11, 7]},
    ),
    "loop": Workload(
        [
            _flow(
                [
                    _node("s", "put", key="n", value=0),
                    _node("lp", "loop-controller", condition="n < 3"),
                    _node("t", "counter", key="n"),
                    _node("z", "pick", key="n"),
                ],
                *("s lp", "lp t continue", "t lp", "lp z break"),
            )
        ],
        {"s": 0, "lp": None, "t": 3, "z": 3},
    ),
    "batch": Workload(
        [
            _flow(
                [
                    _node("l", "const", value=[1, 2, 3]),
                    _node("sc", "batch-scatter", "l", workerUsesKey="square", gatherNodeId="g", chunkSize=2),
                    _node("g", "batch-gather", gatherNodeId="g"),
                ],
                *("l sc", "sc g"),
            )
        ],
        {"l": [1, 2, 3], "sc": {"gatherNodeId": "g", "hasMore": False}, "g": [1, 4, 9]},
    ),
    "subflow": Workload(
        [
            _flow(
                [_node("a", "const", value=1), _node("s", "subflow", blueprintId="inner"), _node("z", "add")],
                *("a s", "s z"),
            ),
            _INNER,
        ],
        {"a": 1, "s": 7, "z": 8},
    ),
    "wait": Workload(
        [_flow([_node("w", "wait"), _node("z", "echo")], "w z")], {"w": "yes", "z": "yes"}, answer="w"
    ),
    "wait in a subflow": Workload(
        [
            _flow([_node("s", "subflow", blueprintId="asking"), _node("z", "echo")], "s z"),
            _flow([_node("w", "wait")], name="asking"),
        ],
        {"s": "yes", "z": "yes"},
        answer="s/w",
    ),
    "sleep": Workload(
        [_flow([_node("a", "const", value=4), _node("n", "sleep", duration="20s"), _node("z", "add")], "a n", "n z")],
        {"a": 4, "n": 4, "z": 5},
    ),
    "retry": Workload(
        [_flow([_node("f", "flaky", config={"maxRetries": 2, "retryDelay": 10}, times=1, value=3), _node("z", "add")],
               "f z")],
        {"f": 3, "z": 4},
    ),
    "delayed retry": Workload(
        [_flow([_node("f", "flaky", config={"maxRetries": 2, "retryDelay": 9000}, times=1, value=3), _node("z", "add")],
               "f z")],
        {"f": 3, "z": 4},
    ),
    "fallback": Workload(
        [
            _flow(
                [_node("f", "fail", config={"fallback": "b"}), _node("b", "const", value=9), _node("z", "echo")],
                "f z",
            )
        ],
        {"f": None, "b": 9, "z": 9},
    ),
    "failure": Workload(
        [_flow([_node("a", "const", value=1), _node("f", "fail"), _node("z", "echo")], "a f", "f z", "a z")],
        {"a": 1},
        status="failed",
    ),
    "cancel": Workload(
        [
            _flow([_node("w", "wait"), _node("s", "subflow", blueprintId="asking")]),
            _flow([_node("w", "wait")], name="asking"),
        ],
        {},
        status="cancelled",
        cancel=True,
    ),
    "long": Workload(
        [_flow([_node("l", "slow", config={"timeout": 30_000}, ms=25_000, value=6), _node("z", "add")], "l z")],
        {"l": 6, "z": 7},
    ),
    "limited subflow": Workload(
        [
            _flow([_node("s", "subflow", config={"timeout": 60_000}, blueprintId="slow"), _node("z", "add")], "s z"),
            _flow([_node("x", "slow", ms=20_000, value=4), _node("y", "add")], "x y", name="slow"),
        ],
        {"s": 5, "z": 6},
    ),
    "nested": Workload(
        [
            _flow([_node("s", "subflow", blueprintId="middle"), _node("z", "echo")], "s z"),
            _flow([_node("t", "subflow", blueprintId="asking")], name="middle"),
            _flow([_node("w", "wait")], name="asking"),
        ],
        {"s": "yes", "z": "yes"},
        answer="s/t/w",
    ),
    "several subflows": Workload(
        [
            _flow(
                [
                    _node("a", "const", value=1),
                    _node("q", "subflow", blueprintId="inner"),
                    _node("s", "subflow", blueprintId="asking"),
                    _node("t", "subflow", blueprintId="outer"),
                    _node("z", "collect", ids=["q", "s", "t"]),
                ],
                *("a q", "a s", "a t", "q z", "s z", "t z"),
            ),
            _INNER,
            _flow([_node("w", "wait")], name="asking"),
            _flow([_node("m", "subflow", blueprintId="middle"), _node("n", "add")], "m n", name="outer"),
            _flow([_node("i", "subflow", blueprintId="inner")], name="middle"),
        ],
        {"a": 1, "q": 7, "s": "yes", "t": 8, "z": [7, "yes", 8]},
        answer="s/w",
    ),
    "first of two": Workload(
        [
            _flow(
                [
                    _node("a", "const", value=1),
                    _node("b", "slow", ms=400, value=2),
                    _node("c", "slow", ms=30_000, value=2),
                    _node("j", "add", config={"joinStrategy": "any"}),
                ],
                *("a b", "a c", "b j", "c j"),
            )
        ],
        {"a": 1, "b": 2, "c": 2, "j": 3},
    ),
    "sleeping in a loop": Workload(
        [
            _flow(
                [
                    _node("s", "put", key="n", value=0),
                    _node("lp", "loop-controller", condition="n < 2"),
                    _node("t", "counter", key="n"),
                    _node("p", "sleep", duration="3s"),
                    _node("z", "pick", key="n"),
                ],
                *("s lp", "lp t continue", "t p", "p lp", "lp z break"),
            )
        ],
        {"s": 0, "lp": None, "t": 2, "p": 2, "z": 2},
    ),
    "failing batch": Workload(
        [
            _flow(
                [
                    _node("l", "const", value=[1, 2]),
                    _node("sc", "batch-scatter", "l", workerUsesKey="fail", gatherNodeId="g"),
                    _node("g", "batch-gather", gatherNodeId="g"),
                ],
                *("l sc", "sc g"),
            )
        ],
        {"l": [1, 2], "sc": {"gatherNodeId": "g", "hasMore": False}},
        status="failed",
    ),
    "failing subflow": Workload(
        [
            _flow([_node("s", "subflow", config={"maxRetries": 2, "retryDelay": 6000}, blueprintId="bad")]),
            _flow([_node("x", "fail")], name="bad"),
        ],
        {},
        status="failed",
    ),
}
