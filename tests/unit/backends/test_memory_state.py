"""What the in-memory runs promise beyond the contract."""

from __future__ import annotations

from typing import NoReturn

from flowcraft_dagster.backends.memory import MemoryBackend
from flowcraft_dagster.ports.records import COMPLETED
from flowcraft_dagster.testing.contracts.samples import new_run, next_commit
from tests.unit.stepped_clock import SteppedClock


class NotLookedThrough(dict[int, str]):
    """Ended runs of which there may be very many."""

    def items(self) -> NoReturn:
        raise AssertionError("forgetting one run looks at all that have ended")


async def test_forgetting_a_run_takes_no_longer_with_many_others() -> None:
    state = MemoryBackend(SteppedClock()).state
    state.finished = NotLookedThrough()
    for name in ("a", "b"):
        header = await new_run(state, run_id=name)
        await state.commit(next_commit(header, "end/a", status=COMPLETED))
    await state.delete_run("a")
    assert list(state.finished.values()) == ["b"]
