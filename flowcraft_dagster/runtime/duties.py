"""What a worker does again and again beside its runs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.clock import Clock

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that is to be done at intervals.

    Attributes:
        name: for the log.
        seconds: from the end of one time to the begin of the next.
        perform: does it once; what a server that is away keeps it from is done the next time.
    """

    name: str
    seconds: float
    perform: Callable[[], Awaitable[None]]

    async def repeat(self, clock: Clock) -> None:
        """Do it until cancelled. Any error that no server is to blame for ends it and is raised."""
        while True:
            await clock.sleep(self.seconds)
            try:
                await self.perform()
            except InfrastructureError as error:
                logger.warning("%s: a server is away, later again: %s", self.name, error)
