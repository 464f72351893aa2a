"""What starting a run needs, whoever starts it."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from flowcraft_dagster.blueprint.json_copy import is_unicode
from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.engine.json_codec import check_depth, encode
from flowcraft_dagster.errors import RunConflict, SerializationError, SettingsError, SizeLimitExceeded
from flowcraft_dagster.ports.records import RUNNING, ParentLink, RunHeader
from flowcraft_dagster.ports.state import StateStore
from flowcraft_dagster.runtime.messages import is_run_id
from flowcraft_dagster.runtime.start_request import StartRequest

_TAG_ADVICE = "Give tags whose names and values are text."

_saved: WeakKeyDictionary[StateStore, set[str]] = WeakKeyDictionary()


def hash_input(context: bytes) -> str:
    """Content hash of an initial context: decides whether a second start is the same start."""
    return hashlib.sha256(context).hexdigest()


async def save_blueprint_once(store: StateStore, blueprint: Blueprint) -> None:
    """Keep a blueprint's copy in the store, once per process and store."""
    known = _saved.setdefault(store, set())
    if blueprint.content_hash not in known:
        await store.save_blueprint(blueprint.content_hash, encode(blueprint.to_json()))
        known.add(blueprint.content_hash)


def encode_context(request: StartRequest, limit: int) -> bytes:
    """The initial context as it is stored.

    Args:
        request: asks for the run.
        limit: in bytes.

    Raises:
        SerializationError: it is no object, or something inside is not JSON.
        SizeLimitExceeded: it is over the limit.
    """
    if not isinstance(request.context, Mapping):
        raise SerializationError(" where an object is needed", path="context", kind=type(request.context).__name__)
    context = encode(dict(request.context), "context")
    check_depth(context, "context")
    if len(context) > limit:
        raise SizeLimitExceeded(what="context", size=len(context), limit=limit)
    return context


def choose_run_id(request: StartRequest, dice: random.Random) -> str:
    """The run id that a request names, or one that is made up. Raises SettingsError: what it names is none."""
    run_id = request.run_id if request.run_id is not None else str(uuid.UUID(int=dice.getrandbits(128)))
    if not is_run_id(run_id):
        advice = "Give another run id, or none to have one made up."
        raise SettingsError("is not text of 1 to 200 printable characters", name="run_id", advice=advice)
    return run_id


def check_tags(request: StartRequest) -> None:
    """Find out whether the tags of a request can be stored. Raises SettingsError: they cannot."""
    for text in (*request.tags, *request.tags.values()):
        if not isinstance(text, str):
            raise SettingsError(f"have a {type(text).__name__} where text is needed", name="tags", advice=_TAG_ADVICE)
        if not is_unicode(text):
            raise SettingsError("have a lone surrogate, which UTF-8 cannot hold", name="tags", advice=_TAG_ADVICE)


def make_header(
    run_id: str,
    blueprint_id: str,
    blueprint_hash: str,
    context: bytes,
    now: float,
    tags: Mapping[str, str],
    parent: ParentLink | None = None,
) -> RunHeader:
    """A run of which nothing was committed yet; its first owner claims it with its first commit.

    Args:
        run_id: the run.
        blueprint_id: what it runs.
        blueprint_hash: the content that it is pinned to.
        context: the initial context.
        now: seconds since 1970 UTC.
        tags: labels to find it by.
        parent: the activation that it is a sub-flow of.
    """
    return RunHeader(
        run_id=run_id,
        blueprint_id=blueprint_id,
        blueprint_hash=blueprint_hash,
        input_hash=hash_input(context),
        status=RUNNING,
        epoch=0,
        owner=None,
        seq=0,
        started_at=now,
        updated_at=now,
        parent=parent,
        tags=dict(tags),
    )


def check_same_start(existing: RunHeader, wanted: RunHeader) -> None:
    """Find out whether a run that is there already is the one that was to be started. Raises RunConflict: it is not."""
    if existing.blueprint_id != wanted.blueprint_id:
        raise RunConflict(f"blueprint '{existing.blueprint_id}'", run_id=existing.run_id)
    if existing.input_hash != wanted.input_hash:
        raise RunConflict("another context", run_id=existing.run_id)
