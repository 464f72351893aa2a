"""Step 1 of the commit protocol: read a run, claim it, and tell what may have killed its last owner."""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.blueprint.parse import parse_blueprint
from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.errors import RunNotFound, UnknownBlueprint
from flowcraft_dagster.ports.records import RunHeader, Signal, StoredRun
from flowcraft_dagster.runtime.commit import OwnedRun, estimate_memory
from flowcraft_dagster.runtime.continuation import select_kept_facts
from flowcraft_dagster.runtime.deadlines import PROMPT_SECONDS, note_restart
from flowcraft_dagster.runtime.emission import publish_final
from flowcraft_dagster.runtime.faults import FaultPoint, pass_point
from flowcraft_dagster.runtime.history import rebuild_state
from flowcraft_dagster.runtime.services import LaneServices


@dataclass(frozen=True, slots=True)
class Opening:
    """A run as it was found.

    Attributes:
        run: the run, now this worker's; None when it has ended.
        signals: what others added to it.
        suspects: activations that may have killed the last owner; they run again alone.
        is_fresh: whether nothing of it was ever committed.
        was_parked: whether it is as this worker has left it, so that only what its messages name can be new.
    """

    run: OwnedRun | None
    signals: tuple[Signal, ...] = ()
    suspects: frozenset[str] = frozenset()
    is_fresh: bool = False
    was_parked: bool = False


async def open_run(services: LaneServices, run_id: str) -> Opening:
    """Read a run and become its owner.

    Raises:
        RunNotFound: the store does not know it, or the run that it goes on from.
        UnknownBlueprint: neither this app nor the store has its blueprint.
    """
    state, patience = services.backend.state, services.patience
    stored = await patience.insist("load run", lambda: state.load_run(run_id))
    if stored is None:
        raise RunNotFound(run_id=run_id)
    header = stored.header
    if header.is_final:
        await publish_final(services, header)
        return Opening(None)
    suspects = False
    # A run from before this worker's time may have killed another one before its first commit, and would kill this one:
    # only an owner on record makes its nodes suspects the next time.
    is_old = header.epoch == 0 and header.started_at < services.started_at
    if is_old or (header.epoch > 0 and header.owner != services.worker_id):
        suspects = await _is_dead(services, header.owner)
        stored = await patience.insist("claim run", lambda: state.claim_run(run_id, services.worker_id))
        services.count("claims")
        if stored is None:
            raise RunNotFound(run_id=run_id)
        if stored.header.is_final:
            await publish_final(services, stored.header)
            return Opening(None)
        await pass_point(FaultPoint.AFTER_CLAIM)
    blueprint = await find_pinned_blueprint(services, stored.header)
    run = _own(stored, blueprint)
    if stored.header.retry_of is not None and stored.header.seq == 0:
        await _continue_from(services, run, stored.header.retry_of, stored.signals)
    pending = run.state.pending
    is_fresh = stored.header.seq == 0 and not stored.signals
    if pending and not (is_fresh and services.clock.now() - header.started_at < PROMPT_SECONDS):
        await note_restart(services, stored.header)
    return Opening(
        run=run,
        signals=stored.signals,
        suspects=frozenset(key for key in pending if suspects),
        is_fresh=is_fresh,
    )


def _own(stored: StoredRun, blueprint: Blueprint) -> OwnedRun:
    state = rebuild_state(stored, blueprint)
    size = estimate_memory(stored.rows, stored.context)
    run = OwnedRun(header=stored.header, blueprint=blueprint, state=state, uncommitted=[], memory_bytes=size)
    run.to_start.extend(state.pending.values())
    return run


async def _continue_from(
    services: LaneServices, run: OwnedRun, ended_run_id: str, signals: Sequence[Signal]
) -> None:
    """Take over what an ended run committed; it becomes part of the first commit."""
    ended = await services.patience.insist(
        "load retried run", lambda: services.backend.state.load_run(ended_run_id)
    )
    if ended is None and any(signal.kind == "cancel" for signal in signals):
        return
    if ended is None:
        # From scratch it would do again, under other idempotency keys, what that run had done.
        raise RunNotFound(run_id=ended_run_id)
    for facts in select_kept_facts(ended):
        run.state.apply(facts)
        run.uncommitted.append(facts)
    run.to_start.clear()
    run.to_start.extend(run.state.pending.values())


async def _is_dead(services: LaneServices, owner: str | None) -> bool:
    """Whether an owner left without a word. A hint: a wrong answer costs time or a process, nothing else."""
    if owner is None:
        return False
    workers, patience = services.backend.workers, services.patience
    record = await patience.insist("read worker", lambda: workers.read_worker(owner))
    if record is None or record.state == "dead":
        return True
    if record.state != "alive":
        return False
    if record.seen_at < services.clock.now() - 3 * services.options.heartbeat_seconds:
        return True
    if record.host == socket.gethostname() and not _is_process(record.pid):
        return True
    # Whoever fills the slot of a worker that never said it stopped is there because that one died.
    known = await patience.insist("list workers", lambda: workers.list_workers(record.started_at))
    return any(other.slot == record.slot and other.started_at > record.started_at for other in known)


def _is_process(pid: int) -> bool:
    """Whether there is such a process on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_PARSED: OrderedDict[str, Blueprint] = OrderedDict()


async def find_pinned_blueprint(services: LaneServices, header: RunHeader) -> Blueprint:
    """The very blueprint a run was started with: this app's if its hash is the same, otherwise the stored copy.

    Raises:
        UnknownBlueprint: there is neither.
    """
    known = services.blueprints.get(header.blueprint_id)
    if known is not None and known.content_hash == header.blueprint_hash:
        return known
    parsed = _PARSED.get(header.blueprint_hash)
    if parsed is None:
        document = await services.patience.insist(
            "read blueprint", lambda: services.backend.state.read_blueprint(header.blueprint_hash)
        )
        if document is None:
            raise UnknownBlueprint(
                blueprint_id=header.blueprint_id, known=", ".join(sorted(services.blueprints)) or "none"
            )
        parsed = parse_blueprint(decode(document))
        _PARSED[header.blueprint_hash] = parsed
        if len(_PARSED) > 256:
            _PARSED.popitem(last=False)
    return parsed
