"""What every state store must do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import (
    AWAITING,
    CANCELLING,
    COMPLETED,
    FAILED,
    RUNNING,
    CommitOutcome,
    ParentLink,
    Row,
    Signal,
)
from flowcraft_dagster.testing.contracts.harness import BackendContract, on_backend
from flowcraft_dagster.testing.contracts.samples import load, new_header, new_id, new_run, next_commit

WIDE_COMMIT = 200
LARGE_OUTPUT = 300_000


class StateStoreContract(BackendContract):
    """Runs, conditional commits, claims and signals."""

    @on_backend
    async def test_a_new_run_is_stored_with_all_its_fields(self, backend: Backend) -> None:
        header = new_header(
            parent=ParentLink(new_id("parent"), "sub#1.2", 3), tags={"dagster": "run é"}, retry_of=new_id("old")
        )
        assert await backend.state.create_run(header, '{"name":"Zoë"}'.encode()) is None
        run = await load(backend.state, header.run_id)
        assert run.header == header
        assert run.context == '{"name":"Zoë"}'.encode()
        assert (run.rows, run.signals) == ((), ())
        assert await backend.state.read_header(header.run_id) == header

    @on_backend
    async def test_the_second_create_finds_the_first(self, backend: Backend) -> None:
        header = await new_run(backend.state, b'{"a":1}')
        other = replace(header, input_hash="c" * 64, started_at=1.0)
        assert await backend.state.create_run(other, b'{"a":2}') == header
        assert (await load(backend.state, header.run_id)).context == b'{"a":1}'

    @on_backend
    async def test_of_many_creates_at_once_one_wins(self, backend: Backend) -> None:
        run_id = new_id()
        headers = [new_header(run_id=run_id, input_hash=f"{place:064d}") for place in range(8)]
        answers = await asyncio.gather(*(backend.state.create_run(header, b"{}") for header in headers))
        winners = [header for header, there in zip(headers, answers, strict=True) if there is None]
        assert len(winners) == 1
        assert {there.input_hash for there in answers if there is not None} == {winners[0].input_hash}
        assert await backend.state.read_header(run_id) == winners[0]

    @on_backend
    async def test_an_unknown_run_is_no_error(self, backend: Backend) -> None:
        run_id = new_id()
        assert await backend.state.read_header(run_id) is None
        assert await backend.state.load_run(run_id) is None
        assert await backend.state.claim_run(run_id, "worker-1") is None
        assert await backend.state.read_signals(run_id) == ()
        commit = next_commit(new_header(run_id=run_id), "end/a")
        assert await backend.state.commit(commit) is CommitOutcome.MISSING
        assert await backend.state.load_run(run_id) is None, "a refused commit left something behind"
        await backend.state.touch_runs([run_id], time.time())
        assert await backend.state.read_header(run_id) is None, "a heartbeat made a run"
        await backend.state.delete_run(run_id)

    @on_backend
    async def test_a_claim_rides_in_the_first_commit(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        commit = next_commit(header, "end/a", owner="worker-7")
        assert await backend.state.commit(commit) is CommitOutcome.APPLIED
        after = (await load(backend.state, header.run_id)).header
        assert (after.epoch, after.owner, after.seq, after.status) == (1, "worker-7", 1, RUNNING)
        assert after.finished_at is None

    @on_backend
    async def test_rows_come_back_in_commit_order_and_byte_by_byte(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        rows = (
            Row("end/z", 1, '{"é":"\\u0000"}'.encode(), None),
            Row("end/y", 1, b"{}", b"null"),
            Row("end/x", 1, b"{}", b'"' + b"x" * LARGE_OUTPUT + b'"'),
        )
        assert await backend.state.commit(next_commit(header, rows=rows)) is CommitOutcome.APPLIED
        header = replace(header, epoch=1, seq=1)
        assert await backend.state.commit(next_commit(header, "end/a")) is CommitOutcome.APPLIED
        found = (await load(backend.state, header.run_id)).rows
        assert {row.key: row for row in found[:3]} == {row.key: row for row in rows}
        assert [(row.key, row.seq) for row in found[3:]] == [("end/a", 2)]

    @on_backend
    async def test_a_wide_commit_is_written_whole(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        keys = [f"end/item#{place}" for place in range(WIDE_COMMIT)]
        assert await backend.state.commit(next_commit(header, *keys)) is CommitOutcome.APPLIED
        assert {row.key for row in (await load(backend.state, header.run_id)).rows} == set(keys)

    @on_backend
    async def test_status_and_reason_change_without_rows(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        commit = next_commit(header, status=CANCELLING, reason="asked for", now=header.started_at + 5)
        assert await backend.state.commit(commit) is CommitOutcome.APPLIED
        after = await backend.state.read_header(header.run_id)
        assert after is not None
        assert (after.status, after.reason, after.seq, after.epoch) == (CANCELLING, "asked for", 1, 1)
        assert abs(after.updated_at - commit.now) < 0.01

    @on_backend
    async def test_a_stale_epoch_is_refused(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        claimed = await backend.state.claim_run(header.run_id, "worker-2")
        assert claimed is not None
        assert await backend.state.commit(next_commit(header, "end/a")) is CommitOutcome.STALE
        assert await load(backend.state, header.run_id) == claimed

    @on_backend
    async def test_a_second_commit_on_the_same_ground_is_refused(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        assert await backend.state.commit(next_commit(header, "end/a")) is CommitOutcome.APPLIED
        owned = replace(header, epoch=1)
        assert await backend.state.commit(next_commit(owned, "end/b")) is CommitOutcome.STALE
        assert [row.key for row in (await load(backend.state, header.run_id)).rows] == ["end/a"]

    @on_backend
    async def test_of_commits_at_once_one_is_applied(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        commits = [next_commit(header, f"end/{place}", owner=f"worker-{place}") for place in range(8)]
        outcomes = await asyncio.gather(*map(backend.state.commit, commits))
        applied = [
            commit for commit, outcome in zip(commits, outcomes, strict=True) if outcome is CommitOutcome.APPLIED
        ]
        assert len(applied) == 1
        assert outcomes.count(CommitOutcome.STALE) == len(commits) - 1
        run = await load(backend.state, header.run_id)
        assert run.rows == applied[0].rows
        assert run.header.owner == applied[0].owner

    @on_backend
    async def test_a_row_is_never_written_twice(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        assert await backend.state.commit(next_commit(header, "end/a")) is CommitOutcome.APPLIED
        before = await load(backend.state, header.run_id)
        again = next_commit(replace(header, epoch=1, seq=1), "end/b", "end/a", status=AWAITING)
        assert await backend.state.commit(again) is CommitOutcome.STALE
        assert await load(backend.state, header.run_id) == before, "a refused commit left something behind"

    @on_backend
    async def test_one_bad_commit_spoils_no_other(self, backend: Backend) -> None:
        headers = [await new_run(backend.state) for _ in range(6)]
        await asyncio.gather(*(backend.state.commit(next_commit(header, "end/a")) for header in headers))
        owned = [replace(header, epoch=1, seq=1) for header in headers]
        commits = [next_commit(header, "end/b") for header in owned]
        commits[2] = next_commit(owned[2], "end/b", "end/a")
        commits[4] = replace(commits[4], expected_epoch=9, epoch=9)
        outcomes = await asyncio.gather(*map(backend.state.commit, commits))
        expected = [CommitOutcome.APPLIED] * 6
        expected[2] = expected[4] = CommitOutcome.STALE
        assert outcomes == expected
        for header, outcome in zip(headers, outcomes, strict=True):
            rows = (await load(backend.state, header.run_id)).rows
            assert len(rows) == (2 if outcome is CommitOutcome.APPLIED else 1)

    @on_backend
    async def test_a_finished_run_never_changes(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        last = next_commit(header, "end/a", status=COMPLETED, now=header.started_at + 2)
        assert await backend.state.commit(last) is CommitOutcome.APPLIED
        ended = await load(backend.state, header.run_id)
        assert ended.header.status == COMPLETED
        assert ended.header.finished_at is not None
        assert abs(ended.header.finished_at - last.now) < 0.01
        owned = replace(header, epoch=1, seq=1)
        for late in (next_commit(owned, "end/b"), next_commit(owned, status=FAILED), next_commit(header, "end/b")):
            assert await backend.state.commit(late) is CommitOutcome.FINISHED
        await backend.state.touch_runs([header.run_id], header.started_at + 99)
        assert await load(backend.state, header.run_id) == ended

    @on_backend
    async def test_a_finished_run_is_not_claimed(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        await backend.state.commit(next_commit(header, "end/a", status=FAILED, reason="no"))
        ended = await load(backend.state, header.run_id)
        assert await backend.state.claim_run(header.run_id, "worker-2") == ended
        assert await load(backend.state, header.run_id) == ended

    @on_backend
    async def test_a_commit_repeated_after_an_unknown_outcome_is_applied_once(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        for commit in (
            next_commit(header, "end/a", "end/b"),
            next_commit(replace(header, epoch=1, seq=1), status=AWAITING),
            next_commit(replace(header, epoch=1, seq=2), "end/c", status=COMPLETED),
        ):
            assert await backend.state.commit(commit) is CommitOutcome.APPLIED
            once = await load(backend.state, header.run_id)
            assert await backend.state.commit(commit) is CommitOutcome.APPLIED
            assert await load(backend.state, header.run_id) == once

    @on_backend
    async def test_the_same_commit_sent_many_times_at_once_is_one(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        commit = next_commit(header, "end/a")
        outcomes = await asyncio.gather(*(backend.state.commit(commit) for _ in range(5)))
        assert set(outcomes) == {CommitOutcome.APPLIED}
        run = await load(backend.state, header.run_id)
        assert (run.header.seq, run.rows) == (1, commit.rows)

    @on_backend
    async def test_a_claim_raises_the_epoch_and_fences_the_old_owner(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        await backend.state.commit(next_commit(header, "end/a", owner="worker-1"))
        await backend.state.add_signal(header.run_id, Signal("answer/a", b"{}"))
        claimed = await backend.state.claim_run(header.run_id, "worker-2")
        assert claimed is not None
        assert (claimed.header.epoch, claimed.header.owner, claimed.header.seq) == (2, "worker-2", 1)
        assert [row.key for row in claimed.rows] == ["end/a"]
        assert claimed.signals == (Signal("answer/a", b"{}"),)
        assert claimed.context == b'{"post":1}'
        late = next_commit(replace(header, epoch=1, seq=1), "end/b", owner="worker-1")
        assert await backend.state.commit(late) is CommitOutcome.STALE
        commit = next_commit(claimed.header, "end/b", owner="worker-2")
        assert await backend.state.commit(commit) is CommitOutcome.APPLIED

    @on_backend
    async def test_claims_at_once_get_epochs_of_their_own(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        owners = [f"worker-{place}" for place in range(6)]
        claims = await asyncio.gather(*(backend.state.claim_run(header.run_id, owner) for owner in owners))
        epochs = {claim.header.epoch: claim.header.owner for claim in claims if claim is not None}
        assert len(epochs) == len(owners), "two owners hold the same epoch"
        assert sorted(owner or "" for owner in epochs.values()) == owners
        after = await backend.state.read_header(header.run_id)
        assert after is not None
        assert (after.epoch, after.owner) == (max(epochs), epochs[max(epochs)])

    @on_backend
    async def test_the_first_signal_of_a_key_stands(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        first = Signal("answer/approve", b'{"request":1}')
        second = Signal("answer/approve", b'{"request":2}')
        assert await backend.state.add_signal(header.run_id, first) is None
        assert await backend.state.add_signal(header.run_id, second) == first
        assert await backend.state.add_signal(header.run_id, Signal("cancel", b"{}")) is None
        signals = await backend.state.read_signals(header.run_id)
        assert sorted(signals, key=lambda signal: signal.key) == [first, Signal("cancel", b"{}")]
        assert set((await load(backend.state, header.run_id)).signals) == set(signals)

    @on_backend
    async def test_of_signals_at_once_one_is_first(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        signals = [Signal("answer/a", f'{{"request":{place}}}'.encode()) for place in range(6)]
        answers = await asyncio.gather(*(backend.state.add_signal(header.run_id, signal) for signal in signals))
        winners = [signal for signal, there in zip(signals, answers, strict=True) if there is None]
        assert len(winners) == 1
        assert {there for there in answers if there is not None} == {winners[0]}
        assert await backend.state.read_signals(header.run_id) == (winners[0],)

    @on_backend
    async def test_a_signal_does_not_disturb_the_owner(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        await backend.state.commit(next_commit(header, "end/a"))
        await backend.state.add_signal(header.run_id, Signal("child/sub", b"{}"))
        commit = next_commit(replace(header, epoch=1, seq=1), "end/b")
        assert await backend.state.commit(commit) is CommitOutcome.APPLIED

    @on_backend
    async def test_a_heartbeat_moves_only_the_time(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        await backend.index.publish(header)
        later = header.updated_at + 60
        await backend.state.touch_runs([header.run_id, new_id()], later)
        published = await backend.index.read_published(header.run_id)
        assert published is not None
        assert abs(published.updated_at - later) < 0.01
        assert replace(published, updated_at=header.updated_at) == header
        assert await backend.state.commit(next_commit(header, "end/a")) is CommitOutcome.APPLIED

    @on_backend
    async def test_a_deleted_run_is_gone(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        await backend.state.add_signal(header.run_id, Signal("cancel", b"{}"))
        await backend.state.commit(next_commit(header, "end/a", status=COMPLETED))
        await backend.state.delete_run(header.run_id)
        assert await backend.state.load_run(header.run_id) is None
        assert await backend.state.read_signals(header.run_id) == ()
        await backend.state.delete_run(header.run_id)

    @on_backend
    async def test_a_blueprint_is_kept_under_its_hash(self, backend: Backend) -> None:
        content_hash = new_id("hash")
        assert await backend.state.read_blueprint(content_hash) is None
        document = b'{"id":"x","nodes":[]}' + b" " * LARGE_OUTPUT
        await backend.state.save_blueprint(content_hash, document)
        await backend.state.save_blueprint(content_hash, document)
        assert await backend.state.read_blueprint(content_hash) == document

    @on_backend
    async def test_two_connections_see_the_same_runs(self, backend: Backend) -> None:
        async with self.connected() as other:
            header = await new_run(backend.state)
            assert await other.state.read_header(header.run_id) == header
            claimed = await other.state.claim_run(header.run_id, "worker-2")
            assert claimed is not None
            assert await backend.state.commit(next_commit(header, "end/a")) is CommitOutcome.STALE
            commit = next_commit(claimed.header, "end/a", owner="worker-2")
            assert await other.state.commit(commit) is CommitOutcome.APPLIED
            assert (await load(backend.state, header.run_id)).rows == commit.rows

    @on_backend
    async def test_two_connections_commit_to_many_runs_at_once(self, backend: Backend) -> None:
        async with self.connected() as other:
            headers = [await new_run(backend.state) for _ in range(10)]

            async def drive(header: str, state: Backend, owner: str) -> int:
                applied = 0
                for _ in range(5):
                    run = await load(state.state, header)
                    commit = next_commit(run.header, f"end/{owner}-{run.header.seq}", owner=owner)
                    applied += await state.state.commit(commit) is CommitOutcome.APPLIED
                return applied

            work = [drive(h.run_id, b, name) for h in headers for b, name in ((backend, "one"), (other, "two"))]
            counts = await asyncio.gather(*work)
            for place, header in enumerate(headers):
                run = await load(backend.state, header.run_id)
                applied = counts[2 * place] + counts[2 * place + 1]
                assert run.header.seq == applied == len(run.rows)
                assert [row.seq for row in run.rows] == list(range(1, applied + 1))
