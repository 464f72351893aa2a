"""What every store of dead letters and every queue of run requests must do."""

from __future__ import annotations

import random
import time

from flowcraft_dagster.errors import QueueUnavailable, RequestsLost
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import DeadLetter, Delivery, RequestRange, RunRequest
from flowcraft_dagster.testing.contracts.harness import BackendContract, on_backend
from flowcraft_dagster.testing.contracts.samples import new_id
from flowcraft_dagster.timeouts import await_within


class DeadLettersContract(BackendContract):
    """Keeping, showing, replaying and dropping letters."""

    @on_backend
    async def test_letters_are_kept_byte_by_byte(self, backend: Backend) -> None:
        letter = _letter(key=b"\xff\xfe", value=b"\x00\x01 not JSON \xff", headers={"a": "b", "é": "ü"})
        await backend.dead_letters.add_letter(letter)
        await self._await_letter(backend, letter)

    @on_backend
    async def test_the_newest_letters_come_first(self, backend: Backend) -> None:
        letters = [_letter(at=time.time() + place) for place in range(4)]
        for letter in letters:
            await backend.dead_letters.add_letter(letter)

        async def is_listed() -> bool:
            ids = {letter.letter_id for letter in letters}
            mine = [letter for letter in await backend.dead_letters.list_letters(1000) if letter.letter_id in ids]
            return mine == letters[::-1]

        await self.eventually(is_listed, "all letters are listed, the newest first")
        assert len(await backend.dead_letters.list_letters(2)) == 2

    @on_backend
    async def test_a_dropped_letter_is_gone(self, backend: Backend) -> None:
        letter = _letter()
        await backend.dead_letters.add_letter(letter)
        await self._await_letter(backend, letter)
        assert await backend.dead_letters.drop_letter(letter.letter_id) is True
        assert await backend.dead_letters.drop_letter(letter.letter_id) is False
        assert await backend.dead_letters.read_letter(letter.letter_id) is None
        assert await backend.dead_letters.read_letter(new_id("letter")) is None

    @on_backend
    async def test_a_replayed_letter_is_a_job_again(self, backend: Backend) -> None:
        letter = _letter(value=b"\x00\xff not JSON")
        await backend.dead_letters.add_letter(letter)
        await self._await_letter(backend, letter)
        await backend.dead_letters.replay_letter(letter)
        consumer = backend.jobs.open_consumer("slot-1", new_id("worker"))
        await consumer.start(_let_go)
        found: list[Delivery] = []

        async def has_arrived() -> bool:
            found.extend(await await_within(consumer.fetch(10), self.patience))
            return bool(found)

        await self.eventually(has_arrived, "the message is delivered")
        consumer.settle(found)
        await consumer.close()
        assert [delivery.message.value for delivery in found] == [letter.value]
        assert found[0].message.key == letter.key.decode()
        assert await backend.dead_letters.read_letter(letter.letter_id) is None

    @on_backend
    async def test_a_letter_as_large_as_a_message_is_kept(self, backend: Backend) -> None:
        dice = random.Random(7)  # noqa: S311 - a value that does not compress, the same every time
        large = _letter(key=b"\x00key", value=dice.randbytes(999_000), headers={"a": "b"})
        small = _letter()
        # The second time, as a step does that is repeated.
        for letter in (large, small, large):
            await backend.dead_letters.add_letter(letter)
        await self._await_letter(backend, large)
        await self._await_letter(backend, small)
        listed = [letter.letter_id for letter in await backend.dead_letters.list_letters(1000)]
        assert (listed.count(large.letter_id), listed.count(small.letter_id)) == (1, 1)
        assert await backend.dead_letters.drop_letter(large.letter_id) is True
        assert await backend.dead_letters.read_letter(large.letter_id) is None

    async def _await_letter(self, backend: Backend, letter: DeadLetter) -> None:
        async def is_there() -> bool:
            found = await backend.dead_letters.read_letter(letter.letter_id)
            return found is not None and found == letter

        await self.eventually(is_there, f"letter {letter.letter_id} is kept as it was")


class RequestQueueContract(BackendContract):
    """Reading requests by explicit offsets."""

    @on_backend
    async def test_requests_are_read_in_order(self, backend: Backend) -> None:
        values = [f'{{"request":{place}}}'.encode() for place in range(5)] + [b"\x00\xff not JSON"]
        await backend.requests.send_requests([])
        await backend.requests.send_requests(values[:2])
        await backend.requests.send_requests(values[2:])
        found, positions, topic_id = await self._read(backend, {}, None, len(values))
        assert sorted(request.value for request in found) == sorted(values)
        for partition in positions:
            mine = [request for request in found if request.partition == partition]
            assert [request.offset for request in mine] == sorted(request.offset for request in mine)
            assert positions[partition] == mine[-1].offset + 1
        assert await backend.requests.find_ranges(positions, topic_id, 10) == []

    @on_backend
    async def test_a_reader_goes_on_where_it_stood(self, backend: Backend) -> None:
        await backend.requests.send_requests([b"1", b"2"])
        _, positions, topic_id = await self._read(backend, {}, None, 2)
        await backend.requests.send_requests([b"3"])
        found, _, _ = await self._read(backend, positions, topic_id, 1)
        assert [request.value for request in found] == [b"3"]

    @on_backend
    async def test_ranges_keep_to_the_limit(self, backend: Backend) -> None:
        await backend.requests.send_requests([f"{place}".encode() for place in range(7)])
        positions: dict[int, int] = {}
        topic_id: str | None = None
        found: list[bytes] = []

        async def is_complete() -> bool:
            nonlocal topic_id
            ranges = await backend.requests.find_ranges(positions, topic_id, 3)
            assert sum(piece.end - piece.start for piece in ranges) <= 3
            for piece in ranges:
                found.extend(request.value for request in await backend.requests.read_requests(piece))
                positions[piece.partition] = piece.end
                topic_id = piece.topic_id
            return len(found) >= 7

        await self.eventually(is_complete, "all requests are read")
        assert sorted(found) == [f"{place}".encode() for place in range(7)]

    @on_backend
    async def test_a_range_reads_the_same_twice(self, backend: Backend) -> None:
        await backend.requests.send_requests([b"1", b"2", b"3"])
        await self._read(backend, {}, None, 3)
        (first, *_) = await backend.requests.find_ranges({}, None, 100)
        once = await backend.requests.read_requests(first)
        assert once
        assert await backend.requests.read_requests(first) == once
        assert first.lost == 0

    @on_backend
    async def test_another_topic_is_read_from_its_beginning(self, backend: Backend) -> None:
        await backend.requests.send_requests([b"1", b"2"])
        found, positions, topic_id = await self._read(backend, {}, None, 2)
        ahead = {partition: offset + 1000 for partition, offset in positions.items()}
        again, _, new_topic_id = await self._read(backend, ahead, "topic-of-old", 2)
        assert new_topic_id == topic_id
        assert again == found

    @on_backend
    async def test_requests_of_a_queue_that_is_no_more_are_lost_for_good(self, backend: Backend) -> None:
        await backend.requests.send_requests([b"1", b"2"])
        found, _, _ = await self._read(backend, {}, None, 2)
        partition, offset = found[0].partition, found[0].offset
        lost: RequestsLost | None = None
        try:
            await backend.requests.read_requests(RequestRange("topic-of-old", partition, offset, offset + 1))
        except RequestsLost as error:
            lost = error
        assert lost is not None, "a request of another queue was read as if it were that one"
        assert (lost.partition, lost.start, lost.end) == (partition, offset, offset + 1)

    @on_backend
    async def test_requests_that_are_not_there_are_never_skipped(self, backend: Backend) -> None:
        await backend.requests.send_requests([b"1"])
        found, positions, topic_id = await self._read(backend, {}, None, 1)
        assert topic_id is not None
        partition = found[0].partition
        beyond = RequestRange(topic_id, partition, found[0].offset, positions[partition] + 2)
        try:
            read = await backend.requests.read_requests(beyond)
        except QueueUnavailable:
            return
        raise AssertionError(f"a request that is not there was skipped: {read}")

    async def _read(
        self, backend: Backend, positions: dict[int, int], topic_id: str | None, count: int
    ) -> tuple[list[RunRequest], dict[int, int], str | None]:
        """Read until ``count`` requests have come."""
        found: list[RunRequest] = []
        after: dict[int, int] = {}
        seen: str | None = topic_id

        async def is_complete() -> bool:
            nonlocal seen
            found.clear()
            for piece in await backend.requests.find_ranges(positions, topic_id, 1000):
                found.extend(await backend.requests.read_requests(piece))
                after[piece.partition] = piece.end
                seen = piece.topic_id
            return len(found) >= count

        await self.eventually(is_complete, f"{count} requests are read")
        assert len(found) == count
        return found, {**positions, **after}, seen


def _letter(
    key: bytes = b"run-1", value: bytes = b"{}", headers: dict[str, str] | None = None, at: float | None = None
) -> DeadLetter:
    at = time.time() if at is None else at
    return DeadLetter(new_id("letter"), key, value, headers or {}, "flowcraft-jobs/3/1041", "no such thing", at)


async def _let_go(partitions: frozenset[int], seconds: float) -> None:
    """A revoke callback that has nothing to finish."""
