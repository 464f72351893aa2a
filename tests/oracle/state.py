"""The state of a run: what is committed, what was started, which edges were taken."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.oracle.graph import Edge, Node
from tests.oracle.kinds import NodeError, Outcome
from tests.oracle.values import UNDEFINED

if TYPE_CHECKING:
    from tests.oracle.run import Run

Numbers = Mapping[str, int]


class CaseError(Exception):
    """The case itself is wrong: an answer fits no open wait, or more than one."""


@dataclass(frozen=True)
class Setting:
    """What holds for a run and its children.

    Attributes:
        blueprints: Blueprints by id.
        loop_limit: Iterations that a loop may have.
        chance: The source of chance; without it nothing is left to chance.
    """

    blueprints: Mapping[str, Mapping[str, object]]
    loop_limit: int = 10_000
    chance: random.Random | None = None


@dataclass
class View:
    """What is committed at one moment, and what one activation sees on top of it."""

    context: dict[str, object]
    outputs: dict[str, object]
    inputs: dict[str, object]
    catch_error: object = UNDEFINED

    def has(self, key: str) -> bool:
        """Tell whether a context key exists."""
        if key.startswith("_outputs."):
            return key[len("_outputs.") :] in self.outputs
        if key.startswith("_inputs."):
            return key[len("_inputs.") :] in self.inputs
        return self.catch_error is not UNDEFINED if key == "_catch_error" else key in self.context

    def read(self, key: str) -> object:
        """Give the value of a context key, undefined when it is missing."""
        if key.startswith("_outputs."):
            return self.outputs.get(key[len("_outputs.") :], UNDEFINED)
        if key.startswith("_inputs."):
            return self.inputs.get(key[len("_inputs.") :], UNDEFINED)
        return self.catch_error if key == "_catch_error" else self.context.get(key, UNDEFINED)

    def whole(self) -> dict[str, object]:
        """The object that expressions call `context`: context keys, reserved keys and node ids."""
        found = dict(self.context)
        found.update({f"_inputs.{name}": value for name, value in self.inputs.items()})
        found.update({f"_outputs.{name}": value for name, value in self.outputs.items()})
        found.update(self.outputs)
        if self.catch_error is not UNDEFINED:
            found["_catch_error"] = self.catch_error
        return found


@dataclass
class Activation:
    """One execution slot of a node.

    Attributes:
        numbers: Iteration number per loop.
        origin: The failed activation that this one is the fallback for.
        carried: What its edge brought.
        override: A transform's value that beats `inputs`.
        state: running, open (waits for something), done or failed.
    """

    node: Node
    numbers: Numbers
    origin: Activation | None
    carried: object = UNDEFINED
    override: tuple[object] | None = None
    began: float = 0
    state: str = "running"
    value: object = UNDEFINED
    view: View = field(default_factory=lambda: View({}, {}, {}))
    outcome: Outcome | None = None
    error: NodeError | None = None
    ended: float = 0
    committed: bool = False
    child: Run | None = None
    attempt: int = 1
    items: list[object] = field(default_factory=list)
    results: dict[int, object] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)

    @property
    def handled(self) -> bool:
        """Whether its own fallback takes care of its failure."""
        return self.state == "failed" and self.node.fallback is not None and not (self.error and self.error.fatal)

    def key(self) -> tuple[object, ...]:
        """What tells it from every other activation."""
        origin = self.origin.key() if self.origin is not None else None
        return (self.node.id, tuple(sorted(self.numbers.items())), origin)


@dataclass(frozen=True)
class Taken:
    """An edge that an activation took (its own or an inherited one) in a commit."""

    edge: Edge
    by: Activation
    value: object
    moment: int
