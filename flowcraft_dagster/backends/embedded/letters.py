"""Dead letters in the file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from flowcraft_dagster.backends.embedded.jobs import insert_messages, place_messages
from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.ports.records import DeadLetter, Message

_COLUMNS = "letter_id, key, value, headers, source, reason, at"


class EmbeddedDeadLetters:
    """A ``DeadLetters`` in the file."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add_letter(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add_letter``; the same letter twice is one."""
        await self._session.write(ADD_LETTER, letter)

    async def list_letters(self, limit: int) -> tuple[DeadLetter, ...]:
        """See ``DeadLetters.list_letters``."""
        sql = f"SELECT {_COLUMNS} FROM letters ORDER BY number DESC LIMIT ?"  # noqa: S608 - constant parts only
        return tuple(map(_build, self._session.reader.read(sql, (limit,))))

    async def read_letter(self, letter_id: str) -> DeadLetter | None:
        """See ``DeadLetters.read_letter``."""
        rows = self._session.reader.read(f"SELECT {_COLUMNS} FROM letters WHERE letter_id = ?", (letter_id,))  # noqa: S608
        return _build(rows[0]) if rows else None

    async def replay_letter(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.replay_letter``; a letter that is gone is not sent again."""
        message = Message(letter.key.decode("utf-8", "replace"), letter.value, letter.headers)
        placed = place_messages([message], self._session.partitions)
        await self._session.write(REPLAY_LETTER, (letter.letter_id, placed))
        self._session.watcher.notice()

    async def drop_letter(self, letter_id: str) -> bool:
        """See ``DeadLetters.drop_letter``."""
        return await self._session.write(DROP_LETTER, letter_id)


def _build(row: Sequence[Any]) -> DeadLetter:
    letter_id, key, value, headers, source, reason, at = row
    return DeadLetter(letter_id, key, value, json.loads(headers), source, reason, at)


def _add_letters(connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> list[None]:
    connection.executemany(
        f"INSERT OR IGNORE INTO letters ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - as above
        [(x.letter_id, x.key, x.value, json.dumps(dict(x.headers)), x.source, x.reason, x.at) for x in letters],
    )
    return [None] * len(letters)


def _drop_letters(connection: sqlite3.Connection, letter_ids: Sequence[str]) -> list[bool]:
    return [
        connection.execute("DELETE FROM letters WHERE letter_id = ?", (letter_id,)).rowcount == 1
        for letter_id in letter_ids
    ]


def _replay_letters(
    connection: sqlite3.Connection, arguments: Sequence[tuple[str, Sequence[tuple[Any, ...]]]]
) -> list[None]:
    for letter_id, placed in arguments:
        if _drop_letters(connection, [letter_id])[0]:
            insert_messages(connection, placed)
    return [None] * len(arguments)


ADD_LETTER = WriteKind(50, _add_letters)
REPLAY_LETTER = WriteKind(51, _replay_letters)
DROP_LETTER = WriteKind(52, _drop_letters)
