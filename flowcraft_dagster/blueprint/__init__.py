"""Blueprints: what they are, how they are read, written, checked and drawn. Nothing here runs one."""

from flowcraft_dagster.blueprint.analysis import Analysis, analyze_blueprint
from flowcraft_dagster.blueprint.builder import Flow
from flowcraft_dagster.blueprint.diagram import RunPicture, draw_mermaid
from flowcraft_dagster.blueprint.issues import LintIssue, LintReport
from flowcraft_dagster.blueprint.lint import lint_blueprint
from flowcraft_dagster.blueprint.model import BUILT_IN_KINDS, Blueprint, EdgeSpec, NodeConfig, NodeSpec
from flowcraft_dagster.blueprint.parse import (
    MAX_FILE_BYTES,
    MAX_NODES,
    find_problems,
    load_document,
    parse_blueprint,
    read_blueprint,
    read_blueprints,
)

__all__ = [
    "BUILT_IN_KINDS",
    "MAX_FILE_BYTES",
    "MAX_NODES",
    "Analysis",
    "Blueprint",
    "EdgeSpec",
    "Flow",
    "LintIssue",
    "LintReport",
    "NodeConfig",
    "NodeSpec",
    "RunPicture",
    "analyze_blueprint",
    "draw_mermaid",
    "find_problems",
    "lint_blueprint",
    "load_document",
    "parse_blueprint",
    "read_blueprint",
    "read_blueprints",
]
