"""What the linter's rules look at: the blueprint, what is known around it, and facts worked out once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from flowcraft_dagster.blueprint.analysis import Analysis, analyze_blueprint, find_loop_bodies
from flowcraft_dagster.blueprint.fields import CheckExpression
from flowcraft_dagster.blueprint.graph import BlueprintGraph
from flowcraft_dagster.blueprint.issues import LintIssue
from flowcraft_dagster.blueprint.model import Blueprint


@dataclass(frozen=True)
class LintSubject:
    """A blueprint under the linter; see :func:`flowcraft_dagster.blueprint.lint.lint_blueprint`."""

    blueprint: Blueprint
    node_kinds: frozenset[str] | None = None
    blueprints: Mapping[str, Blueprint] | None = None
    check_expression: CheckExpression | None = None
    expression_names: Callable[[str], set[str]] | None = None

    @cached_property
    def graph(self) -> BlueprintGraph:
        """The blueprint's graph, without edges from or to unknown nodes."""
        return BlueprintGraph(self.blueprint)

    @cached_property
    def analysis(self) -> Analysis:
        """The blueprint's shape."""
        return analyze_blueprint(self.blueprint)

    @cached_property
    def bodies(self) -> Mapping[str, frozenset[str]]:
        """Nodes of each loop by its controller."""
        return find_loop_bodies(self.graph, self.analysis.entry_node_ids)


Rule = Callable[[LintSubject], Iterator[LintIssue]]
