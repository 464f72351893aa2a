"""Which implementation belongs to a node kind (``uses``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

from flowcraft_dagster.blueprint.model import BUILT_IN_KINDS
from flowcraft_dagster.engine.node import Node, NodeFunction
from flowcraft_dagster.errors import NodeNotRegistered, SettingsError, suggest

Implementation = NodeFunction | type[Node]
T = TypeVar("T", bound=Callable[..., Any] | type[Node])

_ANOTHER_NAME = "Give it another name."
_WHAT_TO_GIVE = "Give a function of one argument, or a class that derives from flowcraft_dagster.Node."


class NodeRegistry(Mapping[str, Implementation]):
    """Node kinds by name. Names are given explicitly, so every worker process agrees on them.

    Example:
        >>> nodes = NodeRegistry()
        >>> @nodes.node("double")
        ... async def double(ctx):
        ...     return ctx.input * 2
        >>> "double" in nodes
        True
    """

    def __init__(self, nodes: Mapping[str, Implementation] | None = None) -> None:
        self._nodes: dict[str, Implementation] = {}
        for uses, implementation in (nodes or {}).items():
            self.register(uses, implementation)

    def register(self, uses: str, implementation: Implementation) -> None:
        """Make ``implementation`` the one for ``uses``.

        Raises:
            SettingsError: the name is empty, a built-in's, taken by another one, or the thing is not callable.
        """
        name = f"node kind '{uses}'"
        if not uses or uses in BUILT_IN_KINDS:
            raise SettingsError("is empty or the name of a built-in node kind", name=name, advice=_ANOTHER_NAME)
        if not callable(implementation):
            raise SettingsError("is not a function or Node class", name=name, advice=_WHAT_TO_GIVE)
        if inspect.isclass(implementation) and not issubclass(implementation, Node):
            raise SettingsError("is a class that does not derive from Node", name=name, advice=_WHAT_TO_GIVE)
        if self._nodes.get(uses, implementation) is not implementation:
            raise SettingsError("is registered already with another implementation", name=name, advice=_ANOTHER_NAME)
        self._nodes[uses] = implementation

    @overload
    def node(self, uses: str) -> Callable[[T], T]: ...
    @overload
    def node(self, uses: T) -> T: ...
    def node(self, uses: str | T) -> Callable[[T], T] | T:
        """Decorator that registers a function or class, under its own name unless one is given."""
        if not isinstance(uses, str):
            self.register(uses.__name__, uses)
            return uses
        name = uses

        def decorate(implementation: T) -> T:
            self.register(name, implementation)
            return implementation

        return decorate

    def find(self, uses: str) -> Implementation:
        """The implementation for ``uses``.

        Raises:
            NodeNotRegistered: there is none in this process.
        """
        try:
            return self._nodes[uses]
        except KeyError:
            raise self.miss(uses) from None

    def miss(self, uses: str) -> NodeNotRegistered:
        """The error for a node kind that is not here; names those that are close."""
        known = ", ".join(sorted(self._nodes)) or "none"
        return NodeNotRegistered(uses=uses, known=known, near=suggest(uses, self._nodes))

    def __getitem__(self, uses: str) -> Implementation:
        return self._nodes[uses]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)
