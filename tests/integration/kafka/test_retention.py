"""Workers over real servers forget old runs, and nothing that a live one may ask for."""

from __future__ import annotations

import pytest

from flowcraft_dagster import RunQuery, StartRequest
from flowcraft_dagster.backends import distributed
from flowcraft_dagster.errors import RunNotFound
from tests.integration.kafka.site import Site, wait_until_async

pytestmark = [pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis, pytest.mark.timeout(180)]


async def test_old_runs_go_and_live_ones_stay(site: Site) -> None:
    site.overrides["FLOWCRAFT_RETENTION_DAYS"] = "0.00004"
    async with site.client() as client, site.worker("w0"), site.worker("w1"):
        live = await client.start(StartRequest("asks"))
        run_ids = await client.start_many([StartRequest("chain")] * 120)
        for run_id in run_ids:
            assert (await client.wait(run_id, 60)).status == "completed"

        async def are_gone() -> bool:
            listed = await client.runs(RunQuery(limit=1000))
            return [header.run_id for header in listed] == [live]

        await wait_until_async("only the live run is left", are_gone)
        for run_id in run_ids:
            with pytest.raises(RunNotFound):
                await client.status(run_id)
        await client.resume(live, "ask", output=1)
        assert (await client.wait(live, 60)).outputs == {"ask": 1, "after": 2}
        assert await client.backend.dead_letters.list_letters(9) == ()


async def test_a_single_copy_on_another_host_is_warned_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site.backend() as backend:
        reports = {report.name: report for report in await backend.check_health()}
        assert (reports["cassandra"].ok, reports["cassandra"].warning) == (True, None)
        monkeypatch.setattr(distributed, "are_remote", lambda hosts: True)
        reports = {report.name: report for report in await backend.check_health()}
        assert "has one copy, commitlog_sync is periodic" in (reports["cassandra"].warning or "")
        assert "one copy of" in (reports["kafka"].warning or "")
