"""Names of tags and metadata, in one place: they are read back by sensors and shown to people."""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "dagster-flowcraft"

# Tags of Dagster runs.
RUN_ID_TAG: Final = f"{NAMESPACE}/run-id"
BLUEPRINT_TAG: Final = f"{NAMESPACE}/blueprint"
STATUS_TAG: Final = f"{NAMESPACE}/status"
BATCH_TAG: Final = f"{NAMESPACE}/batch-id"

# Tags of workflow runs.
DAGSTER_RUN_TAG: Final = f"{NAMESPACE}/dagster-run-id"
"""The Dagster run that started the workflow run."""
RECORDER_TAG: Final = f"{NAMESPACE}/recorded-by"
"""The Dagster run that means to record the workflow run on its asset itself."""
KEEP_TAG: Final = f"{NAMESPACE}/keep"
"""The workflow run goes on whatever becomes of the Dagster run."""

# Metadata of asset specs.
BLUEPRINT_ID: Final = f"{NAMESPACE}/blueprint_id"
NODE_ID: Final = f"{NAMESPACE}/node_id"

# Metadata of events. Those with figures are plotted over time by the UI.
RUN_ID: Final = "run_id"
BATCH_ID: Final = "batch_id"

# Resource keys.
CLIENT_KEY: Final = "flowcraft"
WORKER_KEY: Final = "flowcraft_worker"
QUEUE_KEY: Final = "flowcraft_queue"
STORE_KEY: Final = "flowcraft_store"
COORDINATION_KEY: Final = "flowcraft_coordination"
