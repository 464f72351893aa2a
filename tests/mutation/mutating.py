"""Breaking the engine on purpose: one function at a time, in this process only."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import FunctionType
from typing import Any

from flowcraft_dagster.engine import plan

PACKAGE = "flowcraft_dagster"


@dataclass(frozen=True)
class Change:
    """A change of one function's text.

    Attributes:
        place: ``engine.decide:RunState.apply``: module within the package, then the function.
        old: a piece of its text, found exactly once.
        new: what stands there instead.
    """

    place: str
    old: str
    new: str


def find_function(place: str) -> FunctionType:
    """The function at a place; what properties call counts as one."""
    module_name, _, path = place.partition(":")
    value: Any = import_module(f"{PACKAGE}.{module_name}")
    for name in path.split("."):
        value = inspect.getattr_static(value, name)
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, cached_property):
        value = value.func
    elif isinstance(value, staticmethod):
        value = value.__func__
    assert isinstance(value, FunctionType), place
    return value


@contextmanager
def broken(*changes: Change) -> Iterator[None]:
    """Have functions do something else for a while; everybody who imported them is affected."""
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(_broken(change))
        # Plans are kept by content hash, and were made by the whole code.
        kept = dict(plan._PLANS)
        plan._PLANS.clear()
        try:
            yield
        finally:
            plan._PLANS.clear()
            plan._PLANS.update(kept)


@contextmanager
def _broken(change: Change) -> Iterator[None]:
    function = find_function(change.place)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(change.old) == 1, f"{change.place}: {change.old!r} is there {source.count(change.old)} times"
    text = source.replace(change.old, change.new)
    code = compile(text, f"<broken {change.place}>", "exec", flags=__future__.annotations.compiler_flag)
    scope: dict[str, Any] = {}
    exec(code, function.__globals__, scope)  # noqa: S102 - the package's own text with one change
    made = scope[function.__name__]
    if isinstance(made, property):
        made = made.fget
    elif isinstance(made, cached_property):
        made = made.func
    elif isinstance(made, staticmethod):
        made = made.__func__
    whole = function.__code__
    function.__code__ = made.__code__
    try:
        yield
    finally:
        function.__code__ = whole
