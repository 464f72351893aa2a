"""A worker process that stands still while others take its work, and then goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
import signal

import pytest

from flowcraft_dagster import StartRequest
from tests.integration.kafka.site import Site, wait_until, wait_until_async

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.cassandra,
    pytest.mark.redis,
    pytest.mark.chaos,
    pytest.mark.timeout(240),
]

# Ten times the session: the group has long given its partitions away.
FREEZE_SECONDS = 15.0


async def test_frozen_worker_neither_commits_twice_nor_changes_an_output(site: Site) -> None:
    # A frozen worker is not yet given up for dead: what it ran is run again beside other nodes, not one by one.
    site.overrides["FLOWCRAFT_HEARTBEAT_SECONDS"] = "10"
    async with site.client() as client, site.fleet(2) as fleet:
        run_ids = await client.start_many([StartRequest("gated")] * 12)

        def begun() -> dict[str, int | None]:
            return {run_id: site.record.find_worker(run_id, "held") for run_id in run_ids}

        await wait_until("every gate is reached", lambda: None not in begun().values())
        holders = begun()
        frozen_slot, frozen_pid = next(item for item in fleet.pids.items() if item[1] in holders.values())
        orphans = [run_id for run_id, pid in holders.items() if pid == frozen_pid]
        before = {run_id: await client.status(run_id) for run_id in orphans}

        fleet.send_signal(frozen_slot, signal.SIGSTOP)
        thaw = asyncio.get_running_loop().call_later(FREEZE_SECONDS, fleet.send_signal, frozen_slot, signal.SIGCONT)

        def are_taken_over() -> bool:
            pids = {line.run_id: line.pid for line in site.record.read() if line.activation == "held"}
            return all(pids[run_id] != frozen_pid for run_id in orphans)

        await wait_until("the other worker runs the same nodes", are_taken_over)
        # The new owner ends its runs well; the frozen one will find another verdict when it wakes.
        for run_id in run_ids:
            site.open_gate(run_id)
        ends = {}
        for run_id in run_ids:
            result = await client.wait(run_id, 60)
            assert (result.status, result.outputs) == ("completed", {"a": 1, "held": "open", "z": 1})
            ends[run_id] = await client.backend.state.load_run(run_id)
            site.open_gate(run_id, "fail")
        assert not thaw.cancelled()

        def has_woken() -> bool:
            return asyncio.get_running_loop().time() > thaw.when() + 1.0

        await wait_until("the frozen worker goes on", has_woken)
        probe = await client.start_many([StartRequest("chain")] * 8)
        for run_id in probe:
            assert (await client.wait(run_id, 60)).outputs == {"a": 1, "b": 2, "c": 3}

        async def queue_is_empty() -> bool:
            return await client.backend.jobs.measure_lag() == 0

        await wait_until_async("nothing is in flight", queue_is_empty)
        for run_id, end in ends.items():
            assert await client.backend.state.load_run(run_id) == end, "an ended run was written to"
            assert end is not None
            assert [row.key for row in end.rows].count("end/held") == 1
        for run_id, header in before.items():
            assert (await client.status(run_id)).epoch > header.epoch
