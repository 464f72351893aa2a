"""The process in which suspects run alone; see ``flowcraft_dagster.runtime.isolated_process``."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO

from flowcraft_dagster.app import Flowcraft, load_app
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.execute import execute
from flowcraft_dagster.engine.execution import Execution, Workshop
from flowcraft_dagster.engine.isolated_form import MappingReader, NamedActivation, describe_node, encode_outcome
from flowcraft_dagster.engine.json_codec import decode, encode
from flowcraft_dagster.engine.threads import SyncThreads
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.runtime.isolated_process import LENGTH_BYTES
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings


def main(target: str) -> None:
    """Answer requests on standard input until it closes."""
    # What user code prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    try:
        app = load_app(target)
        workshop = _open_workshop(app)
    except FlowcraftError as error:
        _write(answers, {"trouble": str(error)})
        return
    _write(answers, {"ready": True})
    while True:
        _write(answers, asyncio.run(_answer(app, workshop, decode(requests.get()))))


def _open_workshop(app: Flowcraft) -> Workshop:
    options = Settings.from_env().options
    return Workshop(
        SyncThreads(options.threads),
        SystemClock(),
        app.dependencies,
        tuple(app.middleware),
        options.max_output_bytes,
    )


def _write(answers: BinaryIO, document: Mapping[str, Any]) -> None:
    data = encode(document)
    answers.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    answers.flush()


def _listen(stream: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    while head := stream.read(LENGTH_BYTES):
        requests.put(stream.read(int.from_bytes(head, "big")))
    # The worker is gone: end at once, also in the middle of a node.
    os._exit(0)


async def _answer(app: Flowcraft, workshop: Workshop, document: Mapping[str, Any]) -> dict[str, Any]:
    events: list[dict[str, Any]] = []
    node = describe_node(document)
    try:
        implementation = app.nodes.find(node.uses)
    except FlowcraftError as error:
        # The worker has it: the code on the disk is another one by now.
        return {"trouble": str(error)}
    value = document["input"]
    execution = Execution(
        run_id=document["runId"],
        blueprint_id=document["blueprintId"],
        node=node,
        activation=NamedActivation(document["activation"]),
        implementation=implementation,
        input=None if value is None else Stored(encode(value[0])),
        snapshot=MappingReader(document["context"]),
        first_attempt=document["firstAttempt"],
        report=lambda kind, payload: events.append({"type": kind, "payload": dict(payload)}),
    )
    outcome = await execute(execution, workshop)
    return {"outcome": encode_outcome(outcome), "events": events}


if __name__ == "__main__":
    main(sys.argv[1])
