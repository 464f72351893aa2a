"""The thirteen places where the peer's Kafka adapter loses, repeats or falsifies work; here each of them holds.

All on real servers. A test's name says what holds; its number is that of the hole.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable

import pytest

from flowcraft_dagster import AsyncClient, Flow, Flowcraft, RunQuery, StartRequest
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.cassandra.statements import write_statements
from flowcraft_dagster.errors import AlreadyAnswered, RunFinished
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import Commit, CommitOutcome, Message
from flowcraft_dagster.runtime.messages import JobMessage, encode_job
from flowcraft_dagster.runtime.reconciler import PAGE, Reconciler
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.testing.environment import make_token
from tests.integration.kafka.conftest import OwnServer
from tests.integration.kafka.sample_app import nodes
from tests.integration.kafka.site import Site, wait_until, wait_until_async

pytestmark = [pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis, pytest.mark.timeout(180)]


async def start(client: AsyncClient, blueprint_id: str, **context: object) -> str:
    return await client.start(StartRequest(blueprint_id, context))


async def finish(client: AsyncClient, run_id: str) -> dict[str, object]:
    result = await client.wait(run_id, 60)
    assert result.status == "completed", result.reason
    return result.outputs


async def let_all_work(client: AsyncClient, workers: set[str]) -> None:
    """Return when every worker has its share of the partitions: each has owned one of some runs started together."""
    for _ in range(50):
        run_ids = await client.start_many([StartRequest("diamond")] * 12)
        for run_id in run_ids:
            await finish(client, run_id)
        if {(await client.status(run_id)).owner for run_id in run_ids} == workers:
            return
    pytest.fail("one of the workers gets no work")


# -- 1: joins ----------------------------------------------------------------------------------------------------------


async def test_01_join_does_not_fire_early_when_its_predecessors_are_redelivered(site: Site) -> None:
    async with site.client() as client, site.worker() as worker:
        run_id = await start(client, "gated-diamond")
        await wait_until("the slow branch runs", lambda: site.record.find_worker(run_id, "held") is not None)
        again = [encode_job(JobMessage(run_id, "gated-diamond", node)) for node in ("a", "fast", "fast", "held", "d")]
        seen = worker.counters["messages"]
        await client.backend.jobs.send(again * 3)
        await wait_until("all of them are taken", lambda: worker.counters["messages"] >= seen + len(again) * 3)
        assert site.record.count_begins(run_id)["d"] == 0
        site.open_gate(run_id)
        assert await finish(client, run_id) == {"a": 1, "fast": 2, "held": "open", "d": 3}
        assert site.record.count_begins(run_id) == {"a": 1, "fast": 1, "held": 1, "d": 1}


async def test_01_join_fires_though_redis_is_flushed_while_its_predecessors_run(site: Site) -> None:
    import redis.asyncio

    async with site.client() as client, site.worker(), redis.asyncio.Redis.from_url(site.stack["REDIS_URL"]) as keys:
        run_id = await start(client, "gated-diamond")
        await wait_until("one branch is done", lambda: site.record.count_begins(run_id)["fast"] == 1)
        async for key in keys.scan_iter(match=f"{site.environment['REDIS_PREFIX']}*"):
            await keys.delete(key)
        site.open_gate(run_id)
        assert (await finish(client, run_id))["d"] == 3


@pytest.mark.chaos
@pytest.mark.parametrize("point", ["after_commit", "before_commit", "before_settle"])
async def test_01_join_fires_though_workers_die_around_its_commits(site: Site, point: str) -> None:
    async with site.client() as client, site.fleet(2, FLOWCRAFT_FAULT=f"{point}:kill:0.3"):
        run_ids = await client.start_many([StartRequest("diamond")] * 6)
        for run_id in run_ids:
            assert await finish(client, run_id) == {"a": 1, "b": 2, "c": 11, "d": 14}
            assert (await client.result(run_id)).skipped_nodes == ()


# -- 2: the context ----------------------------------------------------------------------------------------------------


async def test_02_writers_side_by_side_lose_no_context_key(site: Site) -> None:
    async with site.client() as client, site.worker("w0"), site.worker("w1"):
        run_ids = await client.start_many([StartRequest("writers")] * 5)
        for run_id in run_ids:
            await finish(client, run_id)
            context = (await client.result(run_id)).context
            assert {key: context.get(key) for key in map("key{}".format, range(20))} == {
                f"key{number}": number for number in range(20)
            }


# -- 3, 4: branches that are not taken ---------------------------------------------------------------------------------


async def test_03_run_completes_when_a_branch_is_not_taken(site: Site) -> None:
    async with site.client() as client, site.worker():
        run_id = await start(client, "branches")
        site.open_gate(run_id)
        assert await finish(client, run_id) == {"pick": "yes", "held": "open", "yes": 1}
        assert set(site.record.count_begins(run_id)) == {"pick", "held", "yes"}


async def test_04_reconciler_does_not_start_the_branch_that_was_not_chosen(site: Site) -> None:
    async with site.client() as client:
        async with site.fleet(1) as fleet:
            run_id = await start(client, "branches")
            await wait_until("the chosen branch runs", lambda: site.record.find_worker(run_id, "held") is not None)
            # Nothing of the queue is left to carry the run on: only the reconciler does.
            site.overrides["KAFKA_GROUP_ID"] = f"{site.token}-others"
            fleet.kill(next(iter(fleet.pids)))
        async with site.worker("other"):
            stats = await Reconciler(client.backend, SystemClock(), stalled_after=1.0).run(everything=True)
            assert run_id in stats.reconciled_ids
            site.open_gate(run_id)
            assert await finish(client, run_id) == {"pick": "yes", "held": "open", "yes": 1}
    begun = site.record.count_begins(run_id)
    assert set(begun) == {"pick", "held", "yes"}
    assert begun["pick"] == 1


# -- 5: an outage is no failure ----------------------------------------------------------------------------------------


@pytest.mark.chaos
@pytest.mark.slow
async def test_05_run_outlives_a_cassandra_outage_while_its_output_is_saved(
    site: Site, own_cassandra: OwnServer
) -> None:
    site.stack = {**site.stack, **own_cassandra.environment}
    site.overrides |= {"CASSANDRA_REQUEST_SECONDS": "1", "CASSANDRA_GIVE_UP_SECONDS": "2"}
    async with site.client() as client, site.worker() as worker:
        run_id = await start(client, "gated")
        await wait_until("the node runs", lambda: site.record.find_worker(run_id, "held") is not None)
        await asyncio.to_thread(own_cassandra, "stop", "cassandra")
        site.open_gate(run_id)
        await wait_until("the worker has met the outage", lambda: worker.describe_health()["trouble"] is not None)
        assert site.record.count_begins(run_id)["z"] == 0
        await asyncio.to_thread(own_cassandra, "start", "cassandra")
        assert await finish(client, run_id) == {"a": 1, "held": "open", "z": 1}
        assert site.record.count_begins(run_id) == {"a": 1, "held": 1, "z": 1}
        assert (await client.result(run_id)).errors == ()


# -- 6: one end --------------------------------------------------------------------------------------------------------


async def test_06_late_failed_does_not_overwrite_completed_nor_the_other_way_round(site: Site) -> None:
    async with site.client() as client, site.worker():
        completed = await start(client, "chain")
        failed = await start(client, "gated")
        site.open_gate(failed, "fail")
        await finish(client, completed)
        assert (await client.wait(failed, 60)).status == "failed"
        for run_id, late in ((completed, "failed"), (failed, "completed")):
            before = await client.status(run_id)
            for epoch, seq in ((before.epoch, before.seq), (before.epoch, before.seq - 1), (0, 0)):
                outcome = await client.backend.state.commit(
                    Commit(
                        run_id=run_id,
                        commit_id=make_token(),
                        expected_epoch=epoch,
                        expected_seq=seq,
                        epoch=epoch + 1,
                        owner="late",
                        rows=(),
                        status=late,
                        now=time.time(),
                        blueprint_id=before.blueprint_id,
                        started_at=before.started_at,
                    )
                )
                assert outcome is not CommitOutcome.APPLIED
            assert await client.status(run_id) == before
            with pytest.raises(RunFinished):
                await client.cancel(run_id)

        async def read_projection() -> bool:
            found = {header.run_id: header.status for header in await client.runs(RunQuery())}
            return found == {completed: "completed", failed: "failed"}

        await wait_until_async("the projection shows both ends", read_projection)


# -- 7, 8, 9: messages -------------------------------------------------------------------------------------------------


async def test_07_jobs_produced_before_the_first_worker_joined_are_read(site: Site) -> None:
    async with site.client() as client:
        run_ids = await client.start_many([StartRequest("chain")] * 20)
        async with site.worker():
            for run_id in run_ids:
                assert await finish(client, run_id) == {"a": 1, "b": 2, "c": 3}


async def test_08_run_of_another_version_goes_on_as_it_began(site: Site) -> None:
    newer = Flowcraft([Flow("gated").node("a", "add", params={"by": 100})], nodes, dependencies=site.app.dependencies)
    async with site.client() as client:
        run_id = await start(client, "gated")
        alien = {"runId": run_id, "blueprintId": "gated", "nodeId": "a", "blueprintVersion": "never-heard-of"}
        await client.backend.jobs.send([Message(run_id, json.dumps(alien).encode())])
        site.open_gate(run_id)
        async with site.worker(app=newer):
            assert await finish(client, run_id) == {"a": 1, "held": "open", "z": 1}


async def test_08_run_waits_for_a_worker_that_knows_its_nodes(site: Site) -> None:
    async with site.client() as client:
        run_id = await start(client, "chain")
        async with site.worker("stranger", app=Flowcraft()) as stranger:
            await wait_until("the stranger has met the run", lambda: "add" in stranger.missing_kinds)
            assert not (await client.status(run_id)).is_final
        async with site.worker("local"):
            assert await finish(client, run_id) == {"a": 1, "b": 2, "c": 3}
        assert await client.backend.dead_letters.list_letters(10) == ()


BAD_MESSAGES = {
    "no JSON": b"\xff\xfe{not json",
    "empty": b"",
    "a list": b"[1, 2]",
    "no run id": b'{"blueprintId": "chain", "nodeId": "a"}',
    "run id of a wrong type": b'{"runId": 7, "nodeId": "a"}',
    "node id of a wrong type": b'{"runId": "r", "nodeId": {"a": 1}}',
    "a control character": b'{"runId": "r\\u0000"}',
    "too large": b'{"runId": "r", "nodeId": "' + b"x" * 70_000 + b'"}',
    "a run that nobody knows": b'{"runId": "nobody", "blueprintId": "chain", "nodeId": "a"}',
}


async def test_09_malformed_messages_become_dead_letters_and_block_nobody(site: Site) -> None:
    site.overrides |= {"KAFKA_PARTITIONS": "1", "FLOWCRAFT_UNKNOWN_RUN_ATTEMPTS": "2"}
    async with site.client() as client:
        bad = [Message("key", value, {"trace": name}) for name, value in BAD_MESSAGES.items()]
        await client.backend.jobs.send(bad)
        run_id = await start(client, "chain")
        async with site.worker():
            assert await finish(client, run_id) == {"a": 1, "b": 2, "c": 3}

            async def are_buried() -> bool:
                return len(await client.backend.dead_letters.list_letters(50)) >= len(bad)

            await wait_until_async("all are dead letters", are_buried)
            await wait_until_async("nothing holds the partition", lambda: _is_settled(client.backend))
        letters = await client.backend.dead_letters.list_letters(50)
        assert len(letters) == len(bad)
        assert all(letter.reason for letter in letters)
        unreadable = {letter.headers["trace"]: letter for letter in letters if "trace" in letter.headers}
        for name, value in BAD_MESSAGES.items():
            if name != "a run that nobody knows":
                assert unreadable[name].value == value
                assert unreadable[name].key == b"key"
        (unknown,) = [letter for letter in letters if b"nobody" in letter.value]
        assert "'nobody' is not known" in unknown.reason


async def _is_settled(backend: Backend) -> bool:
    return await backend.jobs.measure_lag() == 0


# -- 10, 11: long and wide ---------------------------------------------------------------------------------------------


async def test_10_node_longer_than_the_poll_interval_and_the_stall_threshold_runs_once(site: Site) -> None:
    site.overrides |= {"KAFKA_MAX_POLL_SECONDS": "2", "FLOWCRAFT_ANCHOR_SECONDS": "1"}
    async with site.client() as client, site.worker("w0") as first, site.worker("w1") as second:
        # While a group still forms, runs wait and partitions move with work in flight: that is no hole.
        await let_all_work(client, {first.worker_id, second.worker_id})
        run_id = await start(client, "long")
        await wait_until("the long node runs", lambda: site.record.find_worker(run_id, "a") is not None)
        ending = asyncio.ensure_future(finish(client, run_id))
        reconciler = Reconciler(client.backend, SystemClock(), stalled_after=4.0)
        stalled: list[str] = []
        while not ending.done():
            stalled += (await reconciler.run()).stalled_ids
            await asyncio.wait([ending], timeout=0.3)
        assert await ending == {"a": "slow", "b": 1}
        assert site.record.count_begins(run_id) == {"a": 1, "b": 1}
        assert stalled == []
        assert (await client.status(run_id)).epoch == 1


async def test_11_fan_out_of_one_run_is_concurrent_and_a_slow_run_holds_nobody_up(site: Site) -> None:
    site.overrides["KAFKA_PARTITIONS"] = "1"
    async with site.client() as client, site.worker():
        slow = await start(client, "gated")
        await wait_until("the slow run runs", lambda: site.record.find_worker(slow, "held") is not None)
        wide = await start(client, "wide")
        await finish(client, wide)
        timings = {timing.node_id: timing for timing in (await client.result(wide)).timings}
        begins = [timings[f"n{number}"].started_at for number in range(8)]
        ends = [timings[f"n{number}"].finished_at or 0.0 for number in range(8)]
        # Every one of them began before any of them ended.
        assert max(begins) < min(ends)
        assert not (await client.status(slow)).is_final
        site.open_gate(slow)
        await finish(client, slow)


# -- 12: the reconciler and double answers -----------------------------------------------------------------------------


def test_12_no_statement_filters_a_whole_table() -> None:
    assert not [name for name, text in write_statements(CassandraSettings()).items() if "FILTERING" in text.upper()]


async def test_12_reconcilers_side_by_side_page_through_all_stalled_runs_and_run_none_twice(site: Site) -> None:
    async with site.client() as client:
        run_ids = await client.start_many([StartRequest("chain")] * (PAGE + 30))
    # The topic with their jobs is gone: only the reconcilers know of these runs now.
    site.overrides |= {"KAFKA_JOBS_TOPIC": f"{site.token}-new", "KAFKA_GROUP_ID": f"{site.token}-new"}
    async with site.client() as client, site.backend() as other:
        clock = SystemClock()
        reconcilers = [Reconciler(backend, clock, stalled_after=0.1) for backend in (client.backend, other)]
        passes = await asyncio.gather(*(reconciler.run() for reconciler in reconcilers))
        assert set(passes[0].stalled_ids) == set(passes[1].stalled_ids) == set(run_ids)
        assert sorted(passes[0].reconciled_ids + passes[1].reconciled_ids) == sorted(run_ids)
        assert passes[0].failed_ids == passes[1].failed_ids == []
        again = await reconcilers[0].run()
        assert (again.stalled_runs, again.reconciled_runs, again.waiting_runs) == (len(run_ids), 0, len(run_ids))
        async with site.worker("w0"), site.worker("w1"):
            for run_id in run_ids:
                assert await finish(client, run_id) == {"a": 1, "b": 2, "c": 3}
        begun = Counter((line.run_id, line.activation) for line in site.record.read() if line.event == "begin")
        assert len(begun) == 3 * len(run_ids)
        assert set(begun.values()) == {1}


async def test_12_two_answers_at_once_are_one_answer_and_one_continuation(site: Site) -> None:
    async with site.client() as client, site.worker("w0"), site.worker("w1"):
        run_ids = await client.start_many([StartRequest("asks")] * 5)
        for run_id in run_ids:
            await client.wait_for_pause(run_id, 60)
            answers: list[Awaitable[str]] = [
                client.resume(run_id, "ask", output=number, request_id=f"request {number % 2}") for number in range(4)
            ]
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
            taken = [outcome for outcome in outcomes if outcome == "ask"]
            refused = [outcome for outcome in outcomes if isinstance(outcome, (AlreadyAnswered, RunFinished))]
            # Each request was made twice, and twice the same request is one.
            assert (len(taken), len(refused)) == (2, 2), outcomes
            outputs = await finish(client, run_id)
            assert outputs["after"] == int(str(outputs["ask"])) + 1
            assert site.record.count_begins(run_id) == {"after": 1}


# -- 13: nothing is remembered that belongs to one run -----------------------------------------------------------------


async def test_13_retries_of_one_run_leave_the_blueprint_as_it_is_for_the_next(site: Site) -> None:
    before = site.app.blueprints["flaky"].to_json()
    async with site.client() as client, site.worker():
        for _ in range(3):
            run_id = await start(client, "flaky")
            assert await finish(client, run_id) == {"a": "attempt 3"}
            assert [timing.attempt for timing in (await client.result(run_id)).timings] == [3]
    assert site.app.blueprints["flaky"].to_json() == before


@pytest.mark.chaos
@pytest.mark.parametrize("blueprint_id", ["deadly", "deadly-later"])
async def test_13_node_that_kills_its_process_is_found_out_and_others_go_on(site: Site, blueprint_id: str) -> None:
    # As in production, a worker that died is back long before its last heartbeat is old.
    site.overrides["FLOWCRAFT_HEARTBEAT_SECONDS"] = "10"
    async with site.client() as client, site.fleet(2) as fleet:
        deadly = await start(client, blueprint_id)
        others = await client.start_many([StartRequest("chain")] * 5)
        result = await client.wait(deadly, 90)
        assert result.status == "failed"
        assert "NodeCrashLoop" in str(result.reason)
        for run_id in others:
            assert await finish(client, run_id) == {"a": 1, "b": 2, "c": 3}
        # A few workers died before the node was a suspect; from then on it died alone.
        assert fleet.died <= 4
