"""The wire form of queue messages: JSON with ids only, read strictly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import orjson

from flowcraft_dagster.errors import MessageError
from flowcraft_dagster.ports.records import Message

MAX_MESSAGE_BYTES = 64 * 1024
MAX_ID_LENGTH = 200
ATTEMPTS_HEADER = "flowcraft-attempts"
"""How often a message was put back. A header, so that the value stays as it was received."""


@dataclass(frozen=True, slots=True)
class JobMessage:
    """A job or a wake.

    Attributes:
        run_id: the run to make progress with; also the message's key.
        blueprint_id: for people and for the documents' format; the run's header decides.
        node_id: the node the job was made for; None for a wake, which also asks to read the run's signals.
        activation: the node's activation where it is not iteration 0.
        timer: ``<activation>/<attempt>`` of a timer that is due.
        child: activation of a sub-flow whose child run has moved.
        child_status: what the child run had become; a hint which read answers most.
        attempts: how often the message was put back because its run or blueprint is not known here.
    """

    run_id: str
    blueprint_id: str = ""
    node_id: str | None = None
    activation: str | None = None
    timer: str | None = None
    child: str | None = None
    child_status: str | None = None
    attempts: int = 0

    @property
    def is_wake(self) -> bool:
        """Whether the run's signals are to be read."""
        return self.node_id is None


_NAMES = (
    ("node_id", "nodeId"),
    ("activation", "activation"),
    ("timer", "timer"),
    ("child", "child"),
    ("child_status", "childStatus"),
)


def encode_job(job: JobMessage) -> Message:
    """A job as a queue message, keyed by run."""
    document: dict[str, Any] = {"runId": job.run_id, "blueprintId": job.blueprint_id}
    for attribute, name in _NAMES:
        value = getattr(job, attribute)
        if value is not None:
            document[name] = value
    message = Message(key=job.run_id, value=orjson.dumps(document))
    return put_back(message, job.attempts) if job.attempts else message


def put_back(message: Message, attempts: int) -> Message:
    """The same message with a note how often it was put back."""
    return replace(message, headers={**message.headers, ATTEMPTS_HEADER: str(attempts)})


def decode_job(message: Message) -> JobMessage:
    """Read a queue message.

    Raises:
        MessageError: it is not a job; says why.
    """
    if len(message.value) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{len(message.value)} bytes, over the limit of {MAX_MESSAGE_BYTES}")
    try:
        document = orjson.loads(message.value)
    except orjson.JSONDecodeError as error:
        raise MessageError(f"not JSON ({error.msg})") from None
    if not isinstance(document, dict):
        raise MessageError("not a JSON object")
    run_id = document.get("runId")
    if not is_run_id(run_id):
        raise MessageError("'runId' is not text of 1 to 200 characters without control characters")
    blueprint_id = document.get("blueprintId", "")
    if not isinstance(blueprint_id, str):
        raise MessageError("'blueprintId' is not text")
    values: dict[str, str | None] = {}
    for attribute, name in _NAMES:
        value = document.get(name)
        if value is not None and not isinstance(value, str):
            raise MessageError(f"'{name}' is not text")
        values[attribute] = value
    attempts = message.headers.get(ATTEMPTS_HEADER, "0")
    if not attempts.isdecimal() or len(attempts) > 9:
        raise MessageError(f"header '{ATTEMPTS_HEADER}' is not a whole number")
    return JobMessage(run_id=run_id, blueprint_id=blueprint_id, attempts=int(attempts), **values)


def is_run_id(value: Any) -> TypeGuard[str]:
    """Whether a value can be a run id: 1 to 200 characters, none of them a control character."""
    return isinstance(value, str) and 1 <= len(value) <= MAX_ID_LENGTH and value.isprintable()
