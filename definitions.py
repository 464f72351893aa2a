"""The code location of this repository: the example, or the app that ``FLOWCRAFT_APP`` names."""

from __future__ import annotations

import os

import dagster as dg

from flowcraft_dagster import FlowcraftAutomation, build_flowcraft_definitions

defs = dg.Definitions.merge(
    build_flowcraft_definitions(
        os.environ.get("FLOWCRAFT_APP") or "examples.moderation:app",
        automation=FlowcraftAutomation(running=os.environ.get("FLOWCRAFT_AUTOMATION") != "stopped"),
        node_assets=os.environ.get("FLOWCRAFT_NODE_ASSETS") == "all",
    ),
    # A run of an asset waits for a workflow: a process of its own for each step would only cost time.
    dg.Definitions(executor=dg.in_process_executor),
)
