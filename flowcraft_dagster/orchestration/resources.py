"""Resources: configuration of the backend and of the client.

Building one connects to nothing, so definitions load with every server down. Text fields take ``dg.EnvVar``, for
example ``EmbeddedStoreResource(home=dg.EnvVar("SHOP_HOME"))``. The UI shows the docstring of each in the Launchpad.
"""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
from abc import abstractmethod
from collections.abc import Mapping

import dagster as dg
from pydantic import Field

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.orchestration.connection import Connection, connect, find_app
from flowcraft_dagster.runtime.blocking_client import Client


class FlowcraftBackendResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where runs are kept and jobs are queued. Subclasses say it as environment variables."""

    @abstractmethod
    def list_variables(self) -> Mapping[str, str]:
        """Settings by the names of their environment variables; what is absent comes from the environment."""


class EnvironmentBackendResource(FlowcraftBackendResource):
    """The backend that ``FLOWCRAFT_BACKEND`` and its companions name, as for the command line and the workers."""

    def list_variables(self) -> Mapping[str, str]:
        """Nothing: the environment says everything."""
        return {}


class EmbeddedStoreResource(FlowcraftBackendResource):
    """The embedded backend: store, queue and coordination in one SQLite file."""

    home: str = Field(
        default="",
        description="Folder of the data, on a local disk. Empty: FLOWCRAFT_HOME, else $DAGSTER_HOME/flowcraft, else"
        " ./.flowcraft, as for the workers.",
    )
    synchronous: str = Field(
        default="FULL",
        description="FULL keeps every acknowledged commit through a power loss; NORMAL is faster and may lose the"
        " last ones then.",
    )

    def list_variables(self) -> Mapping[str, str]:
        """The settings of the embedded backend."""
        variables = {"FLOWCRAFT_BACKEND": "embedded", "FLOWCRAFT_SYNCHRONOUS": self.synchronous}
        return {**variables, "FLOWCRAFT_HOME": self.home} if self.home else variables


class FlowcraftClientResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Starts, follows, answers and cancels runs. One live client per process serves all runs and ticks."""

    app: str = Field(description="The app with the blueprints: MODULE:ATTR, for example 'examples.moderation:app'.")
    backend: dg.ResourceDependency[FlowcraftBackendResource]

    def connect(self, seconds: float | None = None) -> Connection:
        """The connection of this process; opened when it is not.

        Args:
            seconds: how long to wait for that; None for as long as it takes.

        Raises:
            AppLoadError, SettingsError: the configuration cannot be used.
            InfrastructureError: the store or queue is away; the next call tries again.
        """
        return connect(self.app, self.backend.list_variables(), seconds)

    def get_client(self) -> Client:
        """The live client; do not close it. Raises as :meth:`connect`.

        Example:
            >>> @dg.op  # doctest: +SKIP
            ... def greet(flowcraft: FlowcraftClientResource) -> str:
            ...     return flowcraft.get_client().start("hello", {"name": "Ann"})
        """
        return self.connect().client

    def get_app(self) -> Flowcraft:
        """The app, without connecting. Raises AppLoadError."""
        return find_app(self.app)
