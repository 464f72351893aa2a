"""What one evaluation carries along: where names are looked up, and how much work is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from flowcraft_dagster.engine.expression.limits import MAX_WORK


class UndefinedName:
    """The type of ``UNDEFINED_NAME``, which says that a scope has no such name. There is one instance."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNDEFINED_NAME"

    def __reduce__(self) -> str:
        return "UNDEFINED_NAME"


UNDEFINED_NAME: Final = UndefinedName()


class Scope(Protocol):
    """What the bare names of an expression mean. Values are looked up only when the evaluation reaches them."""

    def lookup(self, name: str) -> Any:
        """Find the value of a bare name.

        Args:
            name: the name as written, such as ``input``, ``401`` or ``check-spam``.

        Returns:
            A JSON value or ``UNDEFINED``, never changed by the expression; ``UNDEFINED_NAME`` if there is no such name.
            Within one evaluation the same name must give the same object, so that ``a === a`` holds for lists.
        """
        ...


class MappingScope:
    """A scope over a mapping.

    Example:
        >>> MappingScope({"count": 1}).lookup("count")
        1
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def lookup(self, name: str) -> Any:
        """The value of ``name``, or ``UNDEFINED_NAME``."""
        return self._values.get(name, UNDEFINED_NAME)


class Abort(Exception):
    """Makes the whole expression undefined. It never leaves this package.

    Attributes:
        reason: why, for people.
        name: the bare name that is not known, if that is the reason.
    """

    def __init__(self, reason: str, name: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.name = name


class Frame:
    """One evaluation."""

    __slots__ = ("_left", "lookup")

    def __init__(self, scope: Scope) -> None:
        self.lookup = scope.lookup
        self._left = MAX_WORK

    def charge(self, amount: int) -> None:
        """Take ``amount`` characters from the work that is left.

        Raises:
            Abort: none is left.
        """
        self._left -= amount
        if self._left < 0:
            raise Abort(f"it goes through more text and list items than the limit of {MAX_WORK} characters")
