"""The binary operators, each a function of an evaluation and two values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from flowcraft_dagster.engine.expression.conversions import (
    concatenate,
    loosely_equal,
    ordering_keys,
    strictly_equal,
    text_of,
    tidy,
    to_number,
    to_primitive,
)
from flowcraft_dagster.engine.expression.frame import Frame

BinaryOperator = Callable[[Frame, Any, Any], Any]


def _add(frame: Frame, left: Any, right: Any) -> Any:
    left, right = to_primitive(left, frame), to_primitive(right, frame)
    if not (isinstance(left, str) or isinstance(right, str)):
        return tidy(to_number(left, frame) + to_number(right, frame))
    text = concatenate(text_of(left, frame), text_of(right, frame))
    frame.charge(len(text))
    return text


def _divide(dividend: float, divisor: float) -> float:
    if divisor:
        return dividend / divisor
    if math.isnan(divisor) or math.isnan(dividend) or dividend == 0:
        return math.nan
    return math.copysign(math.inf, dividend) * math.copysign(1.0, divisor)


def _remainder(dividend: float, divisor: float) -> float:
    # fmod takes the sign of the dividend, as JavaScript does and Python's % does not.
    if divisor == 0 or math.isinf(dividend):
        return math.nan
    return math.fmod(dividend, divisor)


def _numeric(operate: Callable[[float, float], float]) -> BinaryOperator:
    def apply(frame: Frame, left: Any, right: Any) -> Any:
        return tidy(operate(to_number(left, frame), to_number(right, frame)))

    return apply


def _ordered(holds: Callable[[Any, Any], bool]) -> BinaryOperator:
    def apply(frame: Frame, left: Any, right: Any) -> Any:
        return holds(*ordering_keys(left, right, frame))

    return apply


BINARY_OPERATORS: Final[Mapping[str, BinaryOperator]] = {
    "+": _add,
    "-": _numeric(lambda left, right: left - right),
    "*": _numeric(lambda left, right: left * right),
    "/": _numeric(_divide),
    "%": _numeric(_remainder),
    "<": _ordered(lambda left, right: bool(left < right)),
    "<=": _ordered(lambda left, right: bool(left <= right)),
    ">": _ordered(lambda left, right: bool(left > right)),
    ">=": _ordered(lambda left, right: bool(left >= right)),
    "==": lambda frame, left, right: loosely_equal(left, right, frame),
    "!=": lambda frame, left, right: not loosely_equal(left, right, frame),
    "===": lambda _frame, left, right: strictly_equal(left, right),
    "!==": lambda _frame, left, right: not strictly_equal(left, right),
}
