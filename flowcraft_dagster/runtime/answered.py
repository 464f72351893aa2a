"""Finding the answer that a request gave before: the same request twice is one answer, also after the run has ended."""

from __future__ import annotations

from flowcraft_dagster.engine.activation import find_node_id
from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.ports.records import StoredRun
from flowcraft_dagster.ports.state import StateStore
from flowcraft_dagster.runtime.history import find_last_opened

ANSWER = "answer/"


async def find_answer(store: StateStore, stored: StoredRun, node: str, request_id: str) -> tuple[str, str] | None:
    """Look in a run, and in the child runs that the name leads through.

    Args:
        store: where the child runs are.
        stored: the run.
        node: how the wait was named: ``node``, an activation, or ``parentNode/childNode``.
        request_id: of the answer.

    Returns:
        The run and the activation that it answered; None where it answered nothing.
    """
    for signal in stored.signals:
        if signal.key.startswith(ANSWER) and decode(signal.data).get("requestId") == request_id:
            return stored.header.run_id, signal.key[len(ANSWER) :]
    for opened in find_last_opened(stored) if "/" in node else ():
        for name in (opened.key, find_node_id(opened.key)):
            if opened.kind == "subflow" and node.startswith(f"{name}/"):
                child = await store.load_run(opened.details["childRunId"])
                found = None if child is None else await find_answer(store, child, node[len(name) + 1 :], request_id)
                if found is not None:
                    return found
    return None
