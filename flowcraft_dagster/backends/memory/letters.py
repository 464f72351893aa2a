"""Dead letters and run requests in lists."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from flowcraft_dagster.backends.lost_requests import MADE_ANEW, name_lost
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.queue import JobQueue
from flowcraft_dagster.ports.records import DeadLetter, Message, RequestRange, RunRequest


class MemoryDeadLetters:
    """A ``DeadLetters`` that lives as long as the object."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs
        self._letters: dict[str, DeadLetter] = {}

    async def add_letter(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add_letter``."""
        self._letters.setdefault(letter.letter_id, letter)

    async def list_letters(self, limit: int) -> tuple[DeadLetter, ...]:
        """See ``DeadLetters.list_letters``."""
        return tuple(self._letters.values())[::-1][:limit]

    async def read_letter(self, letter_id: str) -> DeadLetter | None:
        """See ``DeadLetters.read_letter``."""
        return self._letters.get(letter_id)

    async def replay_letter(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.replay_letter``; a letter that is gone is not sent again."""
        if self._letters.pop(letter.letter_id, None) is not None:
            await self._jobs.send([Message(letter.key.decode("utf-8", "replace"), letter.value, letter.headers)])

    async def drop_letter(self, letter_id: str) -> bool:
        """See ``DeadLetters.drop_letter``."""
        return self._letters.pop(letter_id, None) is not None


class MemoryRequestQueue:
    """A ``RequestQueue`` of one partition that lives as long as the object."""

    def __init__(self, topic_id: str | None = None) -> None:
        self._topic_id = topic_id or uuid.uuid4().hex
        self._values: list[bytes] = []

    async def send_requests(self, values: Sequence[bytes]) -> None:
        """See ``RequestQueue.send_requests``."""
        self._values.extend(values)

    async def find_ranges(self, positions: dict[int, int], topic_id: str | None, limit: int) -> list[RequestRange]:
        """See ``RequestQueue.find_ranges``."""
        start = positions.get(0, 0) if topic_id in (None, self._topic_id) else 0
        end = min(len(self._values), start + limit)
        return [RequestRange(self._topic_id, 0, start, end)] if start < end else []

    async def read_requests(self, requests: RequestRange) -> tuple[RunRequest, ...]:
        """See ``RequestQueue.read_requests``."""
        if requests.topic_id != self._topic_id:
            raise name_lost(requests, MADE_ANEW, queue="requests")
        values = self._values[requests.start : requests.end]
        if len(values) < requests.end - requests.start:
            raise QueueUnavailable("the requests asked for are not there", queue="requests")
        return tuple(RunRequest(0, requests.start + place, value) for place, value in enumerate(values))
