"""An app in Dagster, with sensors that tick often, so that a test takes little time."""

from __future__ import annotations

import os

import dagster as dg

from flowcraft_dagster import FlowcraftAutomation, build_flowcraft_definitions

defs = dg.Definitions.merge(
    build_flowcraft_definitions(
        os.environ["FLOWCRAFT_APP"],
        automation=FlowcraftAutomation(
            status_interval_seconds=5,
            request_interval_seconds=5,
            # Once a year: a pass would only take the processor from what is looked at.
            reconciliation_cron="0 0 1 1 *",
        ),
    ),
    dg.Definitions(executor=dg.in_process_executor),
)
