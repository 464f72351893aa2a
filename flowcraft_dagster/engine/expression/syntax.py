"""The parts of a compiled expression. Each knows its own size and evaluates itself.

Operators of one precedence are one part with many operands, so that ``a || b || c`` is one level deep, however long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flowcraft_dagster.engine.expression.conversions import text_of, tidy, to_number, type_name
from flowcraft_dagster.engine.expression.frame import UNDEFINED_NAME, Abort, Frame
from flowcraft_dagster.engine.expression.limits import MAX_DEPTH, MAX_PARTS
from flowcraft_dagster.engine.expression.operators import BinaryOperator
from flowcraft_dagster.engine.values import UNDEFINED, get_member, is_truthy


class Refusal(Exception):
    """Why a text is no expression. It never leaves this package.

    Attributes:
        reason: why, for people.
        position: offset in the text, if it is about one place.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


class Part(ABC):
    """A part of an expression.

    Attributes:
        depth: levels of nesting, 1 for a leaf.
        size: how many parts it has, itself included.
        names: the bare names in it.
    """

    __slots__ = ("depth", "names", "size")

    def __init__(self, children: Iterable[Part] = (), *, extra_size: int = 0, name: str | None = None) -> None:
        depth = 0
        size = 1 + extra_size
        names: frozenset[str] = frozenset() if name is None else frozenset((name,))
        for child in children:
            depth = max(depth, child.depth)
            size += child.size
            if child.names:
                names = names | child.names
        self.depth: int = depth + 1
        self.size: int = size
        self.names: frozenset[str] = names
        if self.depth > MAX_DEPTH:
            raise Refusal(f"it is nested more than {MAX_DEPTH} levels deep")
        if self.size > MAX_PARTS:
            raise Refusal(f"it has more than {MAX_PARTS} parts")

    @abstractmethod
    def evaluate(self, frame: Frame) -> Any:
        """The value of this part.

        Raises:
            Abort: the whole expression is undefined.
        """

    def path(self) -> str | None:
        """What to call the value of this part in a reason; None if it has no short name."""
        return None


class Literal(Part):
    """A value written down."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        return self.value


class Name(Part):
    """A bare name; unknown ones make the whole expression undefined."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.name = name

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        value = frame.lookup(self.name)
        if value is UNDEFINED_NAME:
            raise Abort(f"the name '{self.name}' is not known here", self.name)
        return value

    def path(self) -> str | None:
        """See :class:`Part`."""
        return self.name


class Step(NamedTuple):
    """One member access: by a fixed name, or by the value of a part.

    Attributes:
        key: the fixed name, or the part in brackets.
        optional: whether it was written with ``?.``.
    """

    key: str | Part
    optional: bool = False


class Chain(Part):
    """A value and the members read from it one after another, such as ``a.b["c"]?.d``."""

    __slots__ = ("_start", "_steps")

    def __init__(self, start: Part, steps: Sequence[Step]) -> None:
        keys = [step.key for step in steps if isinstance(step.key, Part)]
        super().__init__([start, *keys], extra_size=len(steps))
        self._start = start
        self._steps = tuple(steps)

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        value = self._start.evaluate(frame)
        for index, (key, optional) in enumerate(self._steps):
            if value is None or value is UNDEFINED:
                if optional:
                    return UNDEFINED
                raise Abort(self._explain(index, value))
            if isinstance(value, str) and not value.isascii():
                frame.charge(len(value))
            value = get_member(value, key if isinstance(key, str) else _property_key(key.evaluate(frame), frame))
        return value

    def _explain(self, index: int, value: Any) -> str:
        before = [self._start.path(), *(step.key for step in self._steps[:index])]
        names = [key for key in before if isinstance(key, str)]
        subject = f"'{'.'.join(names)}'" if len(names) == len(before) else "the value in front"
        wanted = self._steps[index].key
        member = f"its member '{wanted}'" if isinstance(wanted, str) else "a member of it"
        return f"{subject} is {'null' if value is None else 'undefined'}, so {member} cannot be read"


def _property_key(key: Any, frame: Frame) -> Any:
    return key if isinstance(key, (str, int, float)) else text_of(key, frame)


class ListLiteral(Part):
    """``[a, b]``."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[Part]) -> None:
        super().__init__(items)
        self._items = tuple(items)

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        return [without_negative_zero(item.evaluate(frame)) for item in self._items]


class ObjectLiteral(Part):
    """``{a: 1, "b": 2}``; of equal keys the last one counts."""

    __slots__ = ("_members",)

    def __init__(self, members: Sequence[tuple[str, Part]]) -> None:
        super().__init__([value for _, value in members])
        self._members = tuple(members)

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        return {key: without_negative_zero(value.evaluate(frame)) for key, value in self._members}


class Unary(Part):
    """``!a``, ``-a``, ``+a`` or ``typeof a``."""

    __slots__ = ("_operand", "_operator")

    def __init__(self, operator: str, operand: Part) -> None:
        super().__init__([operand])
        self._operator = operator
        self._operand = operand

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        value = self._operand.evaluate(frame)
        if self._operator == "!":
            return not is_truthy(value)
        if self._operator == "typeof":
            return type_name(value)
        number = to_number(value, frame)
        return tidy(-number if self._operator == "-" else number)


class Operation(Part):
    """Binary operators of one precedence, applied from the left, such as ``a - b + c``."""

    __slots__ = ("_first", "_rest")

    def __init__(self, first: Part, rest: Sequence[tuple[BinaryOperator, Part]]) -> None:
        super().__init__([first, *(operand for _, operand in rest)], extra_size=len(rest) - 1)
        self._first = first
        self._rest = tuple(rest)

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        value = self._first.evaluate(frame)
        for operate, operand in self._rest:
            value = operate(frame, value, operand.evaluate(frame))
        return value


class Choice(Part):
    """``a || b``, ``a && b`` or ``a ?? b``: the first operand that decides, otherwise the last one."""

    __slots__ = ("_last", "_operands", "_operator")

    def __init__(self, operator: str, operands: Sequence[Part]) -> None:
        super().__init__(operands, extra_size=len(operands) - 2)
        self._operator = operator
        *leading, self._last = operands
        self._operands = tuple(leading)

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        for operand in self._operands:
            value = operand.evaluate(frame)
            if self._decides(value):
                return value
        return self._last.evaluate(frame)

    def _decides(self, value: Any) -> bool:
        if self._operator == "??":
            return not (value is None or value is UNDEFINED)
        return is_truthy(value) == (self._operator == "||")


class Conditional(Part):
    """``test ? chosen : otherwise``."""

    __slots__ = ("_chosen", "_otherwise", "_test")

    def __init__(self, test: Part, chosen: Part, otherwise: Part) -> None:
        super().__init__([test, chosen, otherwise])
        self._test = test
        self._chosen = chosen
        self._otherwise = otherwise

    def evaluate(self, frame: Frame) -> Any:
        """See :class:`Part`."""
        return (self._chosen if is_truthy(self._test.evaluate(frame)) else self._otherwise).evaluate(frame)


def without_negative_zero(value: Any) -> Any:
    """The value as JSON shows it: ``-0`` is 0."""
    return 0 if isinstance(value, float) and value == 0 else value
