"""The one safe evaluator of conditions, transforms and loop conditions.

An expression is a property path or a JavaScript expression without calls, functions or assignment. Nothing in it can
reach Python objects, inherited members or anything but the JSON values of its scope. An unknown bare name, or a member
of null or undefined, makes the whole expression undefined and says why; ``context.name`` tests for absence.

Parts: ``limits`` (what it may cost), ``frame`` (scope and work left), ``conversions`` and ``operators`` (JavaScript's
rules), ``syntax`` (compiled parts), ``paths``, ``strings`` and ``parser`` (from text to parts), ``complaints`` (what is
wrong with a text), ``dashes`` (names such as ``check-spam``), ``compiled`` (the cache and the way in).
"""

from __future__ import annotations

from flowcraft_dagster.engine.expression.compiled import Evaluation, Expression, compile_expression, evaluate
from flowcraft_dagster.engine.expression.frame import UNDEFINED_NAME, MappingScope, Scope

__all__ = ["UNDEFINED_NAME", "Evaluation", "Expression", "MappingScope", "Scope", "compile_expression", "evaluate"]
