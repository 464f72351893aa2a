"""Expressions ready to be evaluated, compiled once for each text."""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from flowcraft_dagster.engine.expression.dashes import KEY_DASH, Span, choose_keys, find_chains, mark_keys
from flowcraft_dagster.engine.expression.frame import UNDEFINED_NAME, Abort, Frame, MappingScope, Scope
from flowcraft_dagster.engine.expression.limits import CACHED_EXPRESSIONS, CACHED_READINGS, MAX_LENGTH
from flowcraft_dagster.engine.expression.parser import parse
from flowcraft_dagster.engine.expression.syntax import Part, Refusal, without_negative_zero
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import ExpressionError

_SHOWN = 200


class Evaluation(NamedTuple):
    """What came out of an expression.

    Attributes:
        value: a JSON value or ``UNDEFINED``. It may be, or contain, an object of the scope: copy before changing it.
            Numbers that are whole and exact are ``int``.
        reason: why the whole expression is undefined, for people; None if it was evaluated to its end.
    """

    value: Any
    reason: str | None = None


class Expression:
    """A compiled expression; safe to share between threads.

    Attributes:
        text: as written.
        names: the bare names in it when no dashed key exists: what the scope must know, unless ``&&``, ``||``, ``??``
            or ``?:`` pass over it.
        dashed_keys: keys that its names joined by dashes stand for where the scope has them.
    """

    __slots__ = ("_chains", "_readings", "dashed_keys", "names", "text")

    def __init__(self, text: str) -> None:
        """Compile ``text``; :func:`compile_expression` is the cached way.

        Raises:
            Refusal: the text is no expression, or is over a limit.
        """
        if KEY_DASH in text:
            raise Refusal("the character U+FDD0 is not allowed", text.index(KEY_DASH))
        self.text = text
        self._chains = find_chains(text)
        self._readings: dict[tuple[Span, ...], Part | Refusal] = {}
        self.dashed_keys = frozenset(key for chain in self._chains for key in chain.runs())
        reading = self._read(())
        if isinstance(reading, Refusal):
            # Some texts make sense only with a key, such as "on-new.total", where "new" is reserved.
            if not self._chains or isinstance(self._read(choose_keys(self._chains, lambda _key: True)), Refusal):
                raise reading
            self.names: frozenset[str] = frozenset()
        else:
            self.names = reading.names

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def names_among(self, known: Container[str]) -> frozenset[str]:
        """The bare names, with dashed keys where ``known`` has them; empty if that reading is no expression.

        Example:
            >>> sorted(compile_expression("check-spam.score > limit").names_among({"check-spam"}))
            ['check-spam', 'limit']
        """
        reading = self._read(choose_keys(self._chains, known.__contains__))
        return frozenset() if isinstance(reading, Refusal) else reading.names

    def evaluate(self, scope: Scope | Mapping[str, Any]) -> Evaluation:
        """Evaluate against ``scope``; what its ``lookup`` raises passes through, nothing else is raised."""
        names = MappingScope(scope) if isinstance(scope, Mapping) else scope
        spans = choose_keys(self._chains, lambda key: names.lookup(key) is not UNDEFINED_NAME) if self._chains else ()
        reading = self._read(spans)
        if isinstance(reading, Refusal):
            return Evaluation(UNDEFINED, reading.reason)
        try:
            return Evaluation(without_negative_zero(reading.evaluate(Frame(names))))
        except Abort as abort:
            return Evaluation(UNDEFINED, abort.reason + self._hint(abort.name))

    def _read(self, spans: tuple[Span, ...]) -> Part | Refusal:
        reading = self._readings.get(spans)
        if reading is None:
            try:
                reading = parse(mark_keys(self.text, spans))
            except Refusal as refusal:
                reading = Refusal(refusal.reason, refusal.position)
            if len(self._readings) < CACHED_READINGS:
                self._readings[spans] = reading
        return reading

    def _hint(self, name: str | None) -> str:
        for chain in self._chains:
            if name in chain.text.split("-"):
                return f", and neither is '{chain.text}'"
        return ""


def compile_expression(text: str) -> Expression:
    """Compile an expression, or take it from the cache.

    Args:
        text: a property path or a JavaScript expression, at most ``MAX_LENGTH`` characters.

    Raises:
        ExpressionError: it cannot be parsed or is over a limit. Fields: expression (shortened when long), reason,
            position (offset of the place that is wrong, or None).

    Example:
        >>> compile_expression("input.user.age > 18 ? 'adult' : 'minor'").evaluate({"input": {"user": {"age": 20}}})
        Evaluation(value='adult', reason=None)
    """
    outcome = _compile_any(text)
    if isinstance(outcome, Expression):
        return outcome
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    raise ExpressionError(outcome.reason, expression=shown, position=outcome.position)


def evaluate(text: str, scope: Scope | Mapping[str, Any]) -> Evaluation:
    """Evaluate an expression; one that cannot be parsed is undefined, with the reason.

    Example:
        >>> evaluate("missing > 3", {})
        Evaluation(value=UNDEFINED, reason="the name 'missing' is not known here")
    """
    outcome = _compile_any(text)
    return Evaluation(UNDEFINED, outcome.reason) if isinstance(outcome, Refusal) else outcome.evaluate(scope)


def _compile_any(text: str) -> Expression | Refusal:
    if len(text) > MAX_LENGTH:
        return Refusal(f"it has {len(text)} characters, over the limit of {MAX_LENGTH}")
    return _compile(text)


@functools.lru_cache(maxsize=CACHED_EXPRESSIONS)
def _compile(text: str) -> Expression | Refusal:
    # Refusals are kept too: a bad condition inside a loop must not be parsed again and again.
    try:
        return Expression(text)
    except Refusal as refusal:
        return Refusal(refusal.reason, refusal.position)
