"""What starting a run needs, whoever starts it."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.ports.state import StateStore

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
