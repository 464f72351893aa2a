"""The Dagster side: everything that imports Dagster is in here.

Flowcraft runs workflows, Dagster is the catalogue, the control panel and the safety net: launching, schedules,
assets, checks and operator's jobs. Nothing in here is needed to start, execute or follow a run.
"""

from dagster_shared.libraries import DagsterLibraryRegistry

from flowcraft_dagster.version import __version__

# Not a Dagster package: its version follows its own numbers.
DagsterLibraryRegistry.register("flowcraft-dagster", __version__, is_dagster_package=False)
