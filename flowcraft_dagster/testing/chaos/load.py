"""Starting the runs, answering what they wait for, and judging how they ended."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flowcraft_dagster.errors import AlreadyAnswered, InfrastructureError, NotWaiting, RunFinished
from flowcraft_dagster.local import LocalRuntime
from flowcraft_dagster.ports.records import COMPLETED, FAILED, StoredRun
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.testing.chaos.app import KINDS, VARIANTS, make_app, make_context
from flowcraft_dagster.testing.conformance.comparison import is_same

T = TypeVar("T")
PAUSE_SECONDS = 0.25
START_TOGETHER = 50
LOOK_TOGETHER = 100
LIST_SECONDS = 30.0


@dataclass
class Findings:
    """What became of the runs.

    Attributes:
        runs: how many were started.
        ended: how many ended.
        completed, failed: how many ended so.
        right: how many have the status and the outputs of the same run in memory.
        ended_once: how many are listed as ended exactly once, have one end of every activation, and were not written
            to after their end.
        answered: how many waits were answered.
        nodes: activations that were executed, those of child runs included.
        executions: how often they were executed; what is above ``nodes`` was repeated.
        problems: one line for each run that is not as it should be, the first twenty.
    """

    runs: int = 0
    ended: int = 0
    completed: int = 0
    failed: int = 0
    right: int = 0
    ended_once: int = 0
    answered: int = 0
    nodes: int = 0
    executions: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether every run ended once and rightly."""
        return self.runs == self.ended == self.right == self.ended_once and self.failed == 0

    def to_json(self) -> dict[str, Any]:
        """The figures."""
        return asdict(self) | {"ok": self.is_well}

    def complain(self, text: str) -> None:
        """Note a problem."""
        if len(self.problems) < 20:
            self.problems.append(text)


async def find_references() -> dict[tuple[str, int], Mapping[str, Any]]:
    """Outputs of every kind and variant, from runs in memory."""
    app = make_app(0.0, None, sleep_ms=1)
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    async with LocalRuntime(app, RuntimeOptions(timer_seconds=0.01)) as local:
        for kind in KINDS:
            for variant in range(VARIANTS):
                run_id = await local.client.start(StartRequest(kind, make_context(variant)))
                if kind == "wait":
                    await local.client.wait_for_pause(run_id, 60)
                    await local.client.resume(run_id, "ask", output=variant)
                result = await local.client.wait(run_id, 60)
                found[kind, variant] = result.outputs
    return found


class ChaosLoad:
    """The runs of one go, named by number; their kinds take turns.

    Args:
        client: of an open backend; every call is repeated while a server is away.
        count: how many runs.
        record: where workers write executions down.
    """

    def __init__(self, client: AsyncClient, count: int, record: Path) -> None:
        self._client = client
        self._record = record
        self._kinds = {f"chaos-{number}": (KINDS[number % len(KINDS)], number % VARIANTS) for number in range(count)}
        self._ends: dict[str, StoredRun] = {}
        self.findings = Findings(runs=count)

    @property
    def live(self) -> int:
        """How many runs have not ended, as far as is known."""
        return len(self._kinds) - len(self._ends)

    async def start(self) -> None:
        """Start all runs."""
        requests = [
            StartRequest(kind, make_context(variant), run_id) for run_id, (kind, variant) in self._kinds.items()
        ]
        for place in range(0, len(requests), START_TOGETHER):
            group = requests[place : place + START_TOGETHER]
            await insist(lambda group=group: self._client.start_many(group))  # type: ignore[misc]

    async def follow(self) -> None:
        """Answer waits and note ends until all runs have ended."""
        answering = asyncio.ensure_future(self._answer_all())
        try:
            while self.live:
                open_runs = [run_id for run_id in self._kinds if run_id not in self._ends]
                for place in range(0, len(open_runs), LOOK_TOGETHER):
                    await asyncio.gather(*map(self._look, open_runs[place : place + LOOK_TOGETHER]))
                await asyncio.sleep(PAUSE_SECONDS)
            await answering
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _look(self, run_id: str) -> None:
        header = await insist(lambda: self._client.status(run_id))
        if header.is_final:
            stored = await insist(lambda: self._client.backend.state.load_run(run_id))
            if stored is not None:
                self._ends[run_id] = stored

    async def _answer_all(self) -> None:
        waiting = {run_id: variant for run_id, (kind, variant) in self._kinds.items() if kind == "wait"}
        while waiting:
            for run_id, variant in list(waiting.items()):
                if await self._answer(run_id, variant):
                    del waiting[run_id]
            await asyncio.sleep(PAUSE_SECONDS)

    async def _answer(self, run_id: str, variant: int) -> bool:
        try:
            await insist(lambda: self._client.resume(run_id, "ask", output=variant, request_id=f"{run_id}/answer"))
        except NotWaiting:
            return False
        except (AlreadyAnswered, RunFinished):
            return True
        self.findings.answered += 1
        return True

    async def judge(self, references: Mapping[tuple[str, int], Mapping[str, Any]]) -> Findings:
        """Compare every run with its reference, and with what it was when it ended."""
        findings = self.findings
        findings.ended = len(self._ends)
        listed = await self._list_finished()
        for run_id, (kind, variant) in self._kinds.items():
            end = self._ends.get(run_id)
            if end is None:
                header = await insist(lambda run_id=run_id: self._client.status(run_id))  # type: ignore[misc]
                findings.complain(f"{run_id} ({kind}) is {header.status}")
                continue
            result = await insist(lambda run_id=run_id: self._client.result(run_id))  # type: ignore[misc]
            findings.completed += result.status == COMPLETED
            findings.failed += result.status == FAILED
            if result.status == COMPLETED and is_same(dict(references[kind, variant]), result.outputs):
                findings.right += 1
            else:
                findings.complain(f"{run_id} ({kind}) is {result.status}, {result.reason}: {result.outputs}")
            now = await insist(lambda run_id=run_id: self._client.backend.state.load_run(run_id))  # type: ignore[misc]
            keys = Counter(row.key for row in end.rows)
            if listed[run_id] == 1 and now == end and set(keys.values()) == {1}:
                findings.ended_once += 1
            else:
                findings.complain(f"{run_id} ({kind}) ended {listed[run_id]} times; changed afterwards: {now != end}")
        executions = Counter(self._record.read_text().splitlines()) if self._record.exists() else Counter()
        findings.nodes, findings.executions = len(executions), sum(executions.values())
        return findings

    async def _list_finished(self) -> Counter[str]:
        """How often each run is listed as ended; the listing may lag a little behind the runs."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LIST_SECONDS
        while True:
            listed = await self._read_listing()
            if listed.keys() >= self._ends.keys() or loop.time() > until:
                return listed
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read_listing(self) -> Counter[str]:
        index, now = self._client.backend.index, time.time()
        listed: Counter[str] = Counter()
        cursor: str | None = None
        while True:
            page = await insist(lambda cursor=cursor: index.scan_finished_runs(cursor, now + 60, 500))  # type: ignore[misc]
            listed.update(header.run_id for header in page.headers)
            if not page.headers:
                return listed
            cursor = page.cursor


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat an idempotent call while a server is away."""
    while True:
        try:
            return await call()
        except InfrastructureError:
            await asyncio.sleep(PAUSE_SECONDS)
