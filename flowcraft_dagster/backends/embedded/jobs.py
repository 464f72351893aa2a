"""The job queue: a table of messages by partition."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any

from flowcraft_dagster.backends.embedded.connection import BulkInsert
from flowcraft_dagster.backends.embedded.consumer import EmbeddedJobConsumer
from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.backends.partitions import choose_partition
from flowcraft_dagster.errors import QueueUnavailable, StoreUnavailable
from flowcraft_dagster.ports.records import Message

_INSERT_MESSAGES = BulkInsert("INSERT INTO messages", 5)


class EmbeddedJobQueue:
    """A ``JobQueue`` in the file, with the group semantics of Kafka; messages are settled each by itself.

    Args:
        session: the open backend.
        revoke_seconds: how long a member may finish what is in flight before it loses a partition.
    """

    def __init__(self, session: Session, revoke_seconds: float = 20.0) -> None:
        self._session = session
        self._revoke_seconds = revoke_seconds

    async def send(self, messages: Sequence[Message]) -> None:
        """See ``JobQueue.send``."""
        if not messages:
            return
        try:
            await self._session.write(SEND, place_messages(messages, self._session.partitions))
        except StoreUnavailable as error:
            raise QueueUnavailable(error.fields["reason"], queue="embedded") from error
        self._session.watcher.notice()

    def open_consumer(self, slot: str, worker_id: str) -> EmbeddedJobConsumer:
        """See ``JobQueue.open_consumer``."""
        member_id = f"{slot}/{worker_id}/{uuid.uuid4().hex[:8]}"
        return EmbeddedJobConsumer(self._session, member_id, slot, worker_id, self._revoke_seconds)

    async def measure_lag(self) -> int:
        """See ``JobQueue.measure_lag``."""
        try:
            ((count,),) = await self._session.reader.ask_apart(
                lambda connection: connection.execute("SELECT count(*) FROM messages").fetchall()
            )
        except StoreUnavailable as error:
            raise QueueUnavailable(error.fields["reason"], queue="embedded") from error
        return int(count)


def place_messages(messages: Sequence[Message], partitions: int) -> list[tuple[Any, ...]]:
    """Messages as rows without offsets, in order."""
    return [
        (
            choose_partition(message.key, partitions),
            message.key,
            message.value,
            json.dumps(dict(message.headers), ensure_ascii=False) if message.headers else "{}",
        )
        for message in messages
    ]


def insert_messages(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append placed messages. One series of offsets serves all partitions, so one number tells of any new message."""
    ((offset,),) = connection.execute("SELECT value FROM counters WHERE name = 'offset'").fetchall()
    placed = [(row[0], place, *row[1:]) for place, row in enumerate(rows, offset + 1)]
    placed.sort(key=lambda row: row[0])
    _INSERT_MESSAGES.run(connection, placed)
    connection.execute("UPDATE counters SET value = ? WHERE name = 'offset'", (offset + len(placed),))


def _send(connection: sqlite3.Connection, arguments: Sequence[Sequence[tuple[Any, ...]]]) -> list[None]:
    insert_messages(connection, [row for rows in arguments for row in rows])
    return [None] * len(arguments)


SEND = WriteKind(30, _send)
