"""What becomes of messages that this worker cannot go on with: others get them, and at last the dead letters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from flowcraft_dagster.errors import FlowcraftError, NodeNotRegistered, RunNotFound, UnknownBlueprint, one_line
from flowcraft_dagster.ports.external import ExternalStarts
from flowcraft_dagster.ports.records import DeadLetter, Delivery
from flowcraft_dagster.runtime.burial import keep_letter
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.external_starts import start_external_run
from flowcraft_dagster.runtime.lane import RunLane
from flowcraft_dagster.runtime.messages import ATTEMPTS_HEADER, JobMessage, decode_job, encode_job, put_back
from flowcraft_dagster.runtime.services import LaneServices

logger = logging.getLogger(__name__)


class Redelivery:
    """Lets go of lanes.

    Args:
        services: what lanes share.
        external_starts: where runs that other programs announce are found; None accepts none.
        forget: takes a lane out of those that get messages.

    Attributes:
        missing_kinds: node kinds that runs have asked for in vain.
    """

    def __init__(
        self,
        services: LaneServices,
        external_starts: ExternalStarts | None,
        forget: Callable[[RunLane], None],
    ) -> None:
        self._services = services
        self._external_starts = external_starts
        self._forget = forget
        self.missing_kinds: set[str] = set()

    async def put_back(self, lane: RunLane, error: UnknownBlueprint | NodeNotRegistered | RunNotFound) -> None:
        """Let another worker try, later; only after a long while the messages become dead letters."""
        options, attempts = self._services.options, lane.attempts
        reason = f"{error}. {error.hint}"
        if isinstance(error, RunNotFound):
            try:
                if await self._start_external(lane):
                    return
            except FlowcraftError as refusal:
                reason = f"an external start was refused: {refusal}. {refusal.hint}"
        if isinstance(error, NodeNotRegistered):
            self.missing_kinds.add(error.uses)
        if isinstance(error, RunNotFound):
            pause, limit = 0.1 * 2 ** min(attempts, 10), options.unknown_run_attempts
        else:
            pause, limit = find_pause(attempts), count_pauses(options.unknown_blueprint_seconds)
        if attempts >= limit and isinstance(error, RunNotFound) and lane.has_only_timers():
            # A finished run may leave timers behind, and be deleted before they are due.
            logger.info("%s: timers of a run that is stored no more", error)
            self._services.count("stale_timers")
            self._forget(lane)
            self._services.settle(lane.take_deliveries())
            return
        if attempts >= limit:
            logger.error("run %s: giving up after %d attempts: %s", lane.run_id, attempts, error)
            self._forget(lane)
            while lane.deliveries:
                await self.bury_and_settle(lane.deliveries[0], reason)
                del lane.deliveries[0]
            return
        logger.warning("run %s: %s; trying again in %.1f s", lane.run_id, error, pause)
        await lane.rest(pause)
        # Before they are sent: they may come back here at once, and must not go to the lane that ends now.
        self._forget(lane)
        # As they were received: should nobody ever handle them, the dead letters hold the original bytes.
        messages = [put_back(delivery.message, attempts + 1) for delivery in lane.deliveries]
        if messages:
            jobs = self._services.backend.jobs
            await self._services.patience.insist("put back", lambda: jobs.send(messages), "queue")
        self._services.settle(lane.take_deliveries())

    async def _start_external(self, lane: RunLane) -> bool:
        """Start a run that another program announced; True when it was started, and its messages are done with."""
        services, source = self._services, self._external_starts
        jobs = [job for job in (decode_job(delivery.message) for delivery in lane.deliveries) if job.blueprint_id]
        if source is None or not jobs:
            return False
        client = AsyncClient(services.backend, services.blueprints, services.options, services.clock, services.dice)
        start = partial(start_external_run, client, source, jobs[0])
        if not await self._services.patience.insist("start external run", start):
            return False
        logger.info("run %s: started from external rows", lane.run_id)
        self._services.count("external_starts")
        await self.hand_back(lane, JobMessage(lane.run_id, jobs[0].blueprint_id))
        return True

    async def hand_back(self, lane: RunLane, job: JobMessage) -> None:
        """Let go of a lane that is driven no more; a fresh message has its run taken up again."""
        # Before it is sent: the message may come back here at once, and must not go to the lane that ends now.
        self._forget(lane)
        if lane.deliveries:
            await self._send(job)
            self._services.settle(lane.take_deliveries())

    async def renew(self, lane: RunLane) -> None:
        """Let a fresh message take the place of those that a lane holds, which goes on meanwhile."""
        # Unless it has ended since, and its messages are being seen to already.
        held = lane.take_deliveries() if lane.is_live else []
        if held:
            await self._send(JobMessage(lane.run_id))
            self._services.settle(held)

    async def _send(self, job: JobMessage) -> None:
        message = encode_job(job)
        await self._services.patience.insist("send", lambda: self._services.backend.jobs.send([message]), "queue")

    async def bury_and_settle(self, delivery: Delivery, reason: str) -> None:
        """Put a message with the dead letters."""
        await self._bury(delivery, reason)
        self._services.settle([delivery])

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        message = delivery.message
        letter = DeadLetter(
            letter_id=f"{delivery.partition}-{delivery.offset}",
            key=message.key.encode("utf-8", "surrogateescape"),
            value=message.value,
            headers={name: value for name, value in message.headers.items() if name != ATTEMPTS_HEADER},
            source=f"{delivery.partition}/{delivery.offset}",
            reason=one_line(reason),
            at=self._services.clock.now(),
        )
        logger.error("message %s cannot be handled and goes to the dead letters: %s", letter.letter_id, reason)
        self._services.count("dead_letters")
        await keep_letter(self._services.backend.dead_letters, letter, self._services.patience, self._services.clock)


def find_pause(attempts: int) -> float:
    """Seconds before a message that cannot be handled here is put back, doubling up to half a minute."""
    return float(min(0.5 * 2 ** min(attempts, 10), 30.0))


def count_pauses(seconds: float) -> int:
    """How many of these pauses fit into ``seconds``.

    Example:
        >>> count_pauses(3.0)
        3
    """
    attempts, total = 0, 0.0
    while total < seconds:
        total += find_pause(attempts)
        attempts += 1
    return attempts

