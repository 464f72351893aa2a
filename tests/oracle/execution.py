"""What one activation sees and does: its names, its input, its attempts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.oracle.kinds import NodeError, Outcome, perform
from tests.oracle.script import Lookup, NoValueError
from tests.oracle.state import Activation, View
from tests.oracle.values import UNDEFINED, as_number, is_number


def names(view: View, extra: Mapping[str, object]) -> Lookup:
    """Give the names of a condition: context keys, node ids, `context`, and the extra ones."""
    whole = view.whole()
    return only({**whole, "context": whole, **extra})


def only(known: Mapping[str, object]) -> Lookup:
    """Give these names and no others."""

    def look_up(name: str) -> object:
        if name not in known:
            raise NoValueError
        return known[name]

    return look_up


def retried(act: Activation, attempts: int, timeout: object) -> Outcome:
    """Run the attempts of a test node.

    Raises:
        NodeError: None of them succeeds.
    """
    spent: float = 0
    failure = NodeError("no attempt is allowed")
    for attempt in range(1, attempts + 1):
        try:
            outcome = perform(act.node.kind, act.value, act.node.params, act.view.read, attempt)
            if is_number(timeout) and outcome.ms > as_number(timeout):
                spent += as_number(timeout)
                raise NodeError("the attempt took too long")
        except NodeError as error:
            failure = error
            if error.fatal:
                break
        else:
            outcome.ms += spent
            return outcome
    act.ended = act.began + spent
    raise failure


def check_duration(duration: object) -> None:
    """Refuse what is no duration of a sleep.

    Raises:
        NodeError: It is none.
    """
    if is_number(duration) and as_number(duration) >= 0:
        return
    if not isinstance(duration, str) or re.fullmatch(r"\d+[smhd]", duration) is None:
        raise NodeError("the duration of a sleep is malformed")


def resolve(act: Activation) -> object:
    """Give the input of an activation: its mapping, a transform that beats the mapping, or what its edge brought."""
    inputs = act.node.inputs
    if isinstance(inputs, str) and inputs:
        return act.override[0] if act.override is not None else read_path(act.view, inputs)
    if isinstance(inputs, dict):
        if act.override is not None:
            return act.override[0]
        found = {name: read_path(act.view, str(path)) for name, path in inputs.items()}
        return {name: value for name, value in found.items() if value is not UNDEFINED}
    return act.carried


def read_path(view: View, path: str) -> object:
    """Give what a name in `inputs` stands for."""
    if path.startswith("_"):
        return view.read(path)
    first, *rest = path.split(".")
    if not rest:
        return view.outputs[first] if first in view.outputs else view.read(first)
    value = view.outputs.get(first, UNDEFINED)
    for part in rest:
        if isinstance(value, dict):
            value = value.get(part, UNDEFINED)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, (list, str)) and part == "length":
            value = len(value)
        else:
            return UNDEFINED
    return value
