"""The values that cross a port: plain, immutable, without behaviour worth a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

RUNNING = "running"
AWAITING = "awaiting"
CANCELLING = "cancelling"
CANCELLED = "cancelled"
FAILED = "failed"
COMPLETED = "completed"

LIVE_STATUSES = frozenset({RUNNING, AWAITING, CANCELLING})
FINAL_STATUSES = frozenset({CANCELLED, FAILED, COMPLETED})


@dataclass(frozen=True, slots=True)
class ParentLink:
    """Which activation of which run started this one as its sub-flow."""

    run_id: str
    activation: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What is known of a run without reading its facts.

    Attributes:
        run_id: 1 to 200 characters.
        blueprint_id: name of the blueprint the run follows.
        blueprint_hash: content hash it is pinned to, 64 hexadecimal digits.
        input_hash: content hash of the initial context; decides whether a second start is the same start.
        status: one of ``LIVE_STATUSES`` or ``FINAL_STATUSES``.
        epoch: number of owners so far; 0 until the first commit or claim.
        owner: incarnation id of the worker that owns the run, or None.
        seq: number of the last commit; 0 before the first.
        started_at, updated_at, finished_at: seconds since 1970 UTC.
        parent: set for child runs.
        reason: why it failed or was cancelled, one line.
        tags: free labels, for example the Dagster run that started it.
        retry_of: the failed run that this one goes on from, or None.
    """

    run_id: str
    blueprint_id: str
    blueprint_hash: str
    input_hash: str
    status: str
    epoch: int
    owner: str | None
    seq: int
    started_at: float
    updated_at: float
    finished_at: float | None = None
    parent: ParentLink | None = None
    reason: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    retry_of: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.status in FINAL_STATUSES


@dataclass(frozen=True, slots=True)
class Row:
    """One fact of a run; inserted once, never changed.

    Attributes:
        key: unique within the run, for example ``end/step#2``.
        seq: the commit that wrote it.
        data: JSON of everything but the output.
        output: JSON of the node's output; None where it is undefined or has none.
    """

    key: str
    seq: int
    data: bytes
    output: bytes | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A row that somebody other than the owner adds to a run: an answer, a due timer, an ended child, a cancel.

    Attributes:
        key: unique within the run; begins with its kind, for example ``answer/approve`` or ``cancel``.
        data: JSON.
    """

    key: str
    data: bytes

    @property
    def kind(self) -> str:
        """What the signal says: ``answer``, ``timer``, ``child``, ``item`` or ``cancel``."""
        return self.key.split("/", 1)[0]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Everything stored of a run.

    Attributes:
        header: the static part.
        context: JSON object, the initial context.
        rows: facts in commit order.
        signals: what others added, in any order.
    """

    header: RunHeader
    context: bytes
    rows: tuple[Row, ...]
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """One conditional write to one run's partition; all of it or nothing.

    It applies only if the stored epoch and seq are the expected ones, the status is not final, and no row is there.

    Attributes:
        run_id: the partition.
        commit_id: random; tells a repeated write of mine from somebody else's.
        expected_epoch, expected_seq: what must be stored.
        epoch: what is stored afterwards; ``expected_epoch + 1`` when a claim rides in the commit.
        owner: the writer's incarnation id.
        rows: facts to insert, all with seq ``expected_seq + 1``.
        status: status afterwards.
        reason: reason afterwards.
        now: seconds since 1970 UTC, becomes ``updated_at`` (and ``finished_at`` when status is final).
        blueprint_id, started_at, parent: copied from the header for the status projection.
    """

    run_id: str
    commit_id: str
    expected_epoch: int
    expected_seq: int
    epoch: int
    owner: str
    rows: tuple[Row, ...]
    status: str
    now: float
    reason: str | None = None
    blueprint_id: str = ""
    started_at: float = 0.0
    parent: ParentLink | None = None
    previous_status: str = RUNNING

    @property
    def seq(self) -> int:
        """Number of this commit within the run."""
        return self.expected_seq + 1


class CommitOutcome(Enum):
    """What became of a commit. There is no "unknown": the store reads until it knows, or raises StoreUnavailable."""

    APPLIED = "applied"
    STALE = "stale"
    """Another epoch or seq is stored: the writer is no longer the owner."""
    FINISHED = "finished"
    """The run has ended already."""
    MISSING = "missing"
    """There is no such run."""


@dataclass(frozen=True, slots=True)
class Timer:
    """A moment at which a run is to be woken.

    Attributes:
        due_at: seconds since 1970 UTC.
        run_id: the run.
        key: the timer's name within the run: ``<activation>/<attempt>``.
    """

    due_at: float
    run_id: str
    key: str


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One life of a worker process.

    Attributes:
        worker_id: incarnation id, new at every start.
        slot: stable name of the place it fills, for example ``host-1``.
        pid: process id on its host.
        host: host name.
        state: ``alive`` or ``stopped`` (left cleanly).
        started_at, seen_at: seconds since 1970 UTC.
        health: figures such as lanes, node counts and abandoned threads.
    """

    worker_id: str
    slot: str
    pid: int
    host: str
    state: str
    started_at: float
    seen_at: float
    health: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """A queue message.

    Attributes:
        key: decides the partition; the run id, or run id and item for spread batch items.
        value: JSON, ids only.
        headers: small text values.
    """

    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message handed to a consumer, to be settled exactly once.

    Attributes:
        message: key may be empty and value anything at all when it was not written by this package.
        partition: where it lies.
        offset: its place within the partition; grows.
    """

    message: Message
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message nobody could handle, with its original bytes.

    Attributes:
        letter_id: names it for show, replay and drop.
        key, value, headers: as received.
        source: where it came from, for example ``flowcraft-jobs/3/1041``.
        reason: one line.
        at: seconds since 1970 UTC.
    """

    letter_id: str
    key: bytes
    value: bytes
    headers: Mapping[str, str]
    source: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A wish to start a run, as it lies in the request queue.

    Attributes:
        partition, offset: its place; the start's run id is derived from them.
        value: bytes as received, normally ``{"blueprintId", "context", "runId"?}``.
    """

    partition: int
    offset: int
    value: bytes


@dataclass(frozen=True, slots=True)
class RequestRange:
    """A contiguous piece of the request queue.

    Attributes:
        topic_id: changes when the topic (or table) is made anew.
        partition: where it lies.
        start, end: offsets, end exclusive.
        lost: offsets before ``start`` that were asked for but are gone (retention).
    """

    topic_id: str
    partition: int
    start: int
    end: int
    lost: int = 0


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list.

    Attributes:
        statuses: only these; empty for all.
        blueprint_id: only of this blueprint; None for all.
        since: only runs updated at or after this moment, seconds since 1970 UTC.
        with_children: whether child runs are listed too.
        limit: how many at most, newest first.
    """

    statuses: frozenset[str] = frozenset()
    blueprint_id: str | None = None
    since: float = 0.0
    with_children: bool = False
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a listing.

    Attributes:
        headers: the runs.
        cursor: where the next page starts; None at the end.
    """

    headers: tuple[RunHeader, ...]
    cursor: str | None
