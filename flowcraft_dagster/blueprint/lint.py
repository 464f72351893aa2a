"""Finding mistakes in a blueprint before it runs.

A linted blueprint has been parsed, so its fields have the right types; the linter looks at what it means.
Codes are stable; built-in node kinds count as registered.

=============================  ========  ====================================================================
code                           severity  meaning
=============================  ========  ====================================================================
MISSING_NODE_IMPLEMENTATION    error     ``uses`` is neither registered nor built in
INVALID_BATCH_WORKER_KEY       error     a batch-scatter names a worker that is not registered
INVALID_BATCH_GATHER           error     scatter and gather do not pair up
INVALID_SUBFLOW_BLUEPRINT_ID   error     a sub-flow names an unknown blueprint
RESERVED_SUBFLOW_OUTPUT        error     a sub-flow maps a reserved key (``_...``) in ``outputs``
INVALID_SLEEP_DURATION         error     a sleep's duration cannot be read; the node would fail
NO_ATTEMPTS                    error     ``maxRetries`` is below 1; the node would fail without a try
INVALID_EXPRESSION             error     a condition or transform cannot be parsed
INVALID_EDGE_SOURCE            error     an edge comes from a node that does not exist
INVALID_EDGE_TARGET            error     an edge leads to a node that does not exist
ORPHAN_NODE                    error     no path leads to the node from a start node
CYCLE_WITHOUT_CONTROLLER       error     a cycle without a ``continue`` edge; each node in it runs at most once
LOOP_WITHOUT_EXIT              error     nothing leads out of a loop
JOIN_NEVER_FIRES               warning   the sources of an ``all`` join exclude each other or wait for it
JOIN_WAITS_FOR_FALLBACK        warning   an ``all`` join fires only when another node fails
EDGE_INTO_FALLBACK             warning   an edge into a fallback node, which starts only as such
UNUSED_FALLBACK                warning   a fallback of a node that does not fail
LOOP_WITHOUT_RETURN            warning   nothing leads back to a loop's controller, so it runs once
LOOP_WITHOUT_CONDITION         warning   a loop has no condition, so it never runs
UNKNOWN_NAME                   warning   an expression uses a name that is not known where it stands
ACTION_NEVER_RETURNED          warning   an edge waits for an action that its built-in source never returns
DUPLICATE_EDGE                 warning   two edges are equal
SUBFLOW_RECURSION              warning   a blueprint runs itself, at once or by way of others
RESERVED_NODE_ID               warning   a node id that means something else in expressions or in the context
UNKNOWN_CYCLE_ENTRY            warning   ``metadata.cycleEntryPoints`` names an unknown node
EMPTY_BLUEPRINT                warning   there is no node
=============================  ========  ====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from flowcraft_dagster.blueprint import flow_rules, node_rules
from flowcraft_dagster.blueprint.fields import CheckExpression
from flowcraft_dagster.blueprint.issues import LintReport
from flowcraft_dagster.blueprint.lint_subject import LintSubject
from flowcraft_dagster.blueprint.model import Blueprint


def lint_blueprint(
    blueprint: Blueprint,
    *,
    node_kinds: Collection[str] | None = None,
    blueprints: Mapping[str, Blueprint] | None = None,
    check_expression: CheckExpression | None = None,
    expression_names: Callable[[str], set[str]] | None = None,
) -> LintReport:
    """Look for mistakes.

    Args:
        blueprint: a blueprint, normally one that was parsed.
        node_kinds: the registered node kinds; None leaves implementations unchecked.
        blueprints: all known blueprints by id; None leaves sub-flows unchecked.
        check_expression: parses an expression or raises ExpressionError; None leaves expressions unchecked.
        expression_names: the bare names an expression reads; None leaves them unchecked.

    Example:
        >>> from flowcraft_dagster.blueprint.parse import parse_blueprint
        >>> blueprint = parse_blueprint({"id": "x", "nodes": [{"id": "a", "uses": "nosuch"}]})
        >>> [issue.code for issue in lint_blueprint(blueprint, node_kinds=["echo"]).issues]
        ['MISSING_NODE_IMPLEMENTATION']
    """
    subject = LintSubject(
        blueprint,
        node_kinds=None if node_kinds is None else frozenset(node_kinds),
        blueprints=blueprints,
        check_expression=check_expression,
        expression_names=expression_names,
    )
    return LintReport(tuple(issue for rule in (*node_rules.RULES, *flow_rules.RULES) for issue in rule(subject)))
