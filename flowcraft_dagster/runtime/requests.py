"""Requests to start runs, as they lie in the request queue: how they become runs, with ids made of their place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError, MessageError, RequestsLost, one_line
from flowcraft_dagster.ports.records import DeadLetter, RequestRange, RunRequest
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.start_request import StartRequest, decode_request
from flowcraft_dagster.runtime.start_request import encode_request as encode_request

LETTER_SOURCE = "requests/"
"""Beginning of the ``source`` of dead letters that were requests: they are replayed to the request queue."""

CHUNK = 100
"""Requests that are read and started at a time. Each may have a megabyte."""
MAX_REASON_LENGTH = 2000
"""A reason may name what the request named, and that may be long."""


def name_request(topic_id: str, request: RunRequest) -> str:
    """Topic id, partition and offset as one name; the run id of a request without one of its own."""
    return f"request-{topic_id}-{request.partition}-{request.offset}"


@dataclass
class StartedRequests:
    """What became of requests.

    Attributes:
        run_ids: runs that were started now or before by the same request.
        letter_ids: dead letters of requests that cannot be started.
        reasons: why, by letter id.
        losses: pieces that were gone before they were read.
    """

    run_ids: list[str] = field(default_factory=list)
    letter_ids: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    losses: list[RequestsLost] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many requests were gone before they were read."""
        return sum(int(loss.end) - int(loss.start) for loss in self.losses)

    def note_loss(self, loss: RequestsLost) -> None:
        """Add a piece, as one with the last where it goes on from there."""
        if self.losses and (self.losses[-1].partition, self.losses[-1].end) == (loss.partition, loss.start):
            loss = RequestsLost(**{**loss.fields, "start": self.losses.pop().start})
        self.losses.append(loss)


async def start_requests(
    client: AsyncClient,
    requests: RequestRange,
    now: float,
    tags: Mapping[str, str],
    on_chunk: Callable[[], Awaitable[object]] | None = None,
) -> StartedRequests:
    """Start the runs of a range of the request queue; repeated without harm.

    Args:
        client: starts the runs.
        requests: which requests.
        now: time for dead letters, seconds since 1970 UTC.
        tags: labels for the runs.
        on_chunk: called before each group of requests.

    Raises:
        InfrastructureError: a server is away. What was started stays started.
    """
    outcome = StartedRequests()
    start = requests.start
    while start < requests.end:
        if on_chunk is not None:
            await on_chunk()
        piece = replace(requests, start=start, end=min(requests.end, start + CHUNK))
        try:
            found = await client.backend.requests.read_requests(piece)
        except RequestsLost as loss:
            outcome.note_loss(loss)
            start = int(loss.end)
            continue
        await _start(client, requests.topic_id, found, now, tags, outcome)
        start = piece.end
    return outcome


async def replay_letter(client: AsyncClient, letter: DeadLetter) -> None:
    """Send a dead letter again to the queue it came from, and drop it.

    The bytes are the original ones, but a request without a run id gets one made of its first place: so a replay that
    is repeated, since it was interrupted before the letter was dropped, starts one run.
    """
    if not letter.source.startswith(LETTER_SOURCE):
        await client.backend.dead_letters.replay_letter(letter)
        return
    try:
        request = decode_request(letter.value)
        value = letter.value if request.run_id else encode_request(replace(request, run_id=letter.letter_id))
    except MessageError:
        value = letter.value
    await client.backend.requests.send_requests([value])
    await client.backend.dead_letters.drop_letter(letter.letter_id)


async def _start(
    client: AsyncClient,
    topic_id: str,
    found: Sequence[RunRequest],
    now: float,
    tags: Mapping[str, str],
    outcome: StartedRequests,
) -> None:
    readable: list[tuple[RunRequest, StartRequest]] = []
    for request in found:
        try:
            wanted = decode_request(request.value)
        except MessageError as error:
            await _bury(client, topic_id, request, error, now, outcome)
            continue
        run_id = wanted.run_id or name_request(topic_id, request)
        readable.append((request, StartRequest(wanted.blueprint_id, wanted.context, run_id, tags)))
    try:
        outcome.run_ids += await client.start_many([wanted for _, wanted in readable])
    except InfrastructureError:
        raise
    except FlowcraftError:
        # One of them is refused: start each by itself. Those that were started by then are not started again.
        for request, wanted in readable:
            try:
                outcome.run_ids.append(await client.start(wanted))
            except InfrastructureError:
                raise
            except FlowcraftError as error:
                await _bury(client, topic_id, request, error, now, outcome)


async def _bury(
    client: AsyncClient,
    topic_id: str,
    request: RunRequest,
    error: FlowcraftError,
    now: float,
    outcome: StartedRequests,
) -> None:
    # The id depends on the place alone, so that a repetition keeps one letter.
    letter = DeadLetter(
        letter_id=name_request(topic_id, request),
        key=b"",
        value=request.value,
        headers={},
        source=f"{LETTER_SOURCE}{topic_id}/{request.partition}/{request.offset}",
        reason=one_line(f"{error}. {error.hint}".strip())[:MAX_REASON_LENGTH],
        at=now,
    )
    await client.backend.dead_letters.add_letter(letter)
    outcome.letter_ids.append(letter.letter_id)
    outcome.reasons[letter.letter_id] = letter.reason
