"""Dead letters in a topic of their own.

A letter is a record with the original key, value and headers, and what we know of it in further headers. A letter
that was dropped or replayed stays where it is until the topic forgets it; a marker behind it says that it counts no
more. All of them lie in partition 0, so that a marker always follows its letter, and the parts of a large letter
go before it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.messages import decode_headers, encode_headers, encode_text
from flowcraft_dagster.backends.kafka.parts import KEY_BYTES, PART, PART_OF, PARTS, PartedLetter, split_letter
from flowcraft_dagster.backends.kafka.producer import KafkaProducer, Record
from flowcraft_dagster.backends.kafka.reader import KafkaReader
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.ports.records import DeadLetter

logger = logging.getLogger(__name__)

PARTITION = 0
WINDOW = 100
"""Records read at once. Each may have a megabyte."""

LETTER = "flowcraft-letter"
REASON = "flowcraft-reason"
SOURCE = "flowcraft-source"
AT = "flowcraft-at"
DROPPED = "flowcraft-dropped"


class KafkaDeadLetters:
    """A ``DeadLetters`` on a Kafka topic.

    Args:
        settings: where and how.
        producer: shared with the other queues.
        admin: shared with the other queues.
        reader: shared with the requests.
    """

    def __init__(
        self, settings: KafkaSettings, producer: KafkaProducer, admin: KafkaAdmin, reader: KafkaReader
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._admin = admin
        self._reader = reader

    async def add_letter(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add_letter``. Raises QueueUnavailable."""
        ours = {LETTER: letter.letter_id, REASON: letter.reason, SOURCE: letter.source, AT: repr(letter.at)}
        headers = (*encode_headers(letter.headers), *encode_headers(ours))
        await self._append(*split_letter(letter.letter_id, letter.key, letter.value, headers, PARTITION))

    async def list_letters(self, limit: int) -> tuple[DeadLetter, ...]:
        """See ``DeadLetters.list_letters``. Raises QueueUnavailable."""
        found: list[DeadLetter] = []
        async for letter in self._go_back():
            if len(found) == limit:
                break
            found.append(letter)
        return tuple(found)

    async def read_letter(self, letter_id: str) -> DeadLetter | None:
        """See ``DeadLetters.read_letter``. Raises QueueUnavailable."""
        async for letter in self._go_back():
            if letter.letter_id == letter_id:
                return letter
        return None

    async def replay_letter(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.replay_letter``; a letter that is gone is not sent again. Raises QueueUnavailable."""
        if await self.read_letter(letter.letter_id) is None:
            return
        original = Record(letter.key or None, letter.value, encode_headers(letter.headers))
        await self._producer.send(self._settings.jobs_topic, [original])
        await self._mark_dropped(letter.letter_id)

    async def drop_letter(self, letter_id: str) -> bool:
        """See ``DeadLetters.drop_letter``. Raises QueueUnavailable."""
        if await self.read_letter(letter_id) is None:
            return False
        await self._mark_dropped(letter_id)
        return True

    async def _mark_dropped(self, letter_id: str) -> None:
        name = encode_text(letter_id)
        await self._append(Record(name, None, ((DROPPED, name), (AT, repr(time.time()).encode())), PARTITION))

    async def _append(self, *records: Record) -> None:
        await self._producer.send(self._settings.letters_topic, records)

    async def _go_back(self) -> AsyncIterator[DeadLetter]:
        """Letters that count, newest first; of two with the same id the newer."""
        topic = self._settings.letters_topic
        if await self._admin.describe_topic(topic) is None:
            return
        ends = await self._admin.read_ends(topic, [PARTITION])
        first, end = ends[PARTITION]
        seen: set[str] = set()
        parted: dict[str, PartedLetter] = {}
        while end > first:
            start = max(first, end - WINDOW)
            for message in reversed(await self._reader.read(topic, PARTITION, start, end)):
                letter = _take(message, seen, parted)
                if letter is not None:
                    yield letter
            end = start
        for name in parted:
            logger.warning("parts of dead letter %s are gone", name)


def _take(message: Any, seen: set[str], parted: dict[str, PartedLetter]) -> DeadLetter | None:
    """The letter that a record is or completes; None for a marker, a part, or what a later record replaces."""
    headers = decode_headers(message.headers())
    value = message.value() or b""
    if PART_OF in headers:
        name = headers[PART_OF]
        if name not in parted or not parted[name].add(int(headers[PART]), value):
            return None
        whole = parted.pop(name)
        return _read_letter(name, *whole.join(), whole.headers, message)
    name = headers.get(DROPPED) or headers.get(LETTER) or f"{PARTITION}-{message.offset()}"
    if name in seen:
        return None
    seen.add(name)
    if DROPPED in headers:
        return None
    if PARTS in headers:
        parted[name] = PartedLetter(headers)
        parted[name].add(parted[name].count, value)
        return None
    return _read_letter(name, message.key() or b"", value, headers, message)


def _read_letter(name: str, key: bytes, value: bytes, headers: Mapping[str, str], message: Any) -> DeadLetter:
    ours = {LETTER, REASON, SOURCE, AT, PARTS, KEY_BYTES}
    return DeadLetter(
        letter_id=name,
        key=key,
        value=value,
        headers={name: value for name, value in headers.items() if name not in ours},
        source=headers.get(SOURCE, ""),
        reason=headers.get(REASON, ""),
        at=_read_moment(headers.get(AT, ""), message),
    )


def _read_moment(text: str, message: Any) -> float:
    try:
        return float(text)
    except ValueError:
        milliseconds: int = message.timestamp()[1]
        return milliseconds / 1000
