"""A wish to start a run, and its form in the request queue: ``{"blueprintId", "context", "runId"?}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcraft_dagster.engine.json_codec import decode_strictly, encode
from flowcraft_dagster.errors import MessageError
from flowcraft_dagster.runtime.messages import is_run_id


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A run to start.

    Attributes:
        blueprint_id: which blueprint.
        context: initial context, JSON.
        run_id: idempotency key of the start; made up when None.
        tags: labels to find it by.
    """

    blueprint_id: str
    context: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def encode_request(request: StartRequest) -> bytes:
    """A request as it is sent: ``{"blueprintId", "context", "runId"?}``.

    Raises:
        SerializationError: the context is not JSON.
    """
    document: dict[str, Any] = {"blueprintId": request.blueprint_id, "context": dict(request.context)}
    if request.run_id is not None:
        document["runId"] = request.run_id
    return encode(document, "request")


def decode_request(value: bytes) -> StartRequest:
    """Read a request.

    Args:
        value: JSON; ``blueprintId`` may be a whole number, ``context`` and ``runId`` may be absent.

    Raises:
        MessageError: it is none; says why.

    Example:
        >>> decode_request(b'{"blueprintId": 400, "context": {"n": 1}}').blueprint_id
        '400'
    """
    try:
        document = decode_strictly(value)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON ({error})") from None
    if not isinstance(document, dict):
        raise MessageError("not a JSON object")
    blueprint_id, context, run_id = (document.get(name) for name in ("blueprintId", "context", "runId"))
    if isinstance(blueprint_id, int) and not isinstance(blueprint_id, bool):
        blueprint_id = str(blueprint_id)
    if not isinstance(blueprint_id, str) or not blueprint_id:
        raise MessageError("'blueprintId' is not text")
    if not isinstance(context, (Mapping, type(None))):
        raise MessageError("'context' is not an object")
    if run_id is not None and not is_run_id(run_id):
        raise MessageError("'runId' is not text of 1 to 200 printable characters")
    return StartRequest(blueprint_id, context or {}, run_id)
