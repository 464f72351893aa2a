"""Every error this package raises on purpose, in one tree.

::

    FlowcraftError                      base: message, hint, fields, retryable
    +-- BlueprintError                  a blueprint is refused (blueprint_id, node_id or edge, field)
    |   +-- BlueprintUnreadable         its file or folder cannot be read
    +-- UnknownBlueprint                no blueprint with that id is known here
    +-- ExpressionError                 an expression cannot be parsed or is over a limit
    +-- SerializationError              a value is not JSON (path)
    +-- SizeLimitExceeded               a context, output or file is over its limit
    +-- SettingsError                   a setting has no usable value (name)
    +-- UnknownCursor                   a cursor is none of this listing (cursor)
    +-- AppLoadError                    MODULE:ATTR does not lead to an app (target)
    +-- NodeError                       a node's own failure; ends its branch
    |   +-- FatalNodeError              no retry, no fallback
    |   |   +-- NodeCrashLoop           the node killed its process again and again
    |   |   +-- LoopLimitExceeded       a loop reached the limit of iterations
    |   |   +-- BatchLimitExceeded      a batch has more items than a worker should hold
    |   +-- NodeTimeout                 one attempt ran longer than ``config.timeout``
    |   +-- NodeNotRegistered           no implementation for ``uses`` in this worker
    |   +-- SubflowFailed               the child run did not complete
    +-- RunError                        a request about a run cannot be carried out (run_id)
    |   +-- RunNotFound
    |   +-- RunConflict                 same run id, other blueprint or context
    |   +-- RunFinished                 the run has ended; finished runs never change
    |   +-- NotRetryable                the run has not failed
    |   +-- NotWaiting                  the named node does not wait for an answer
    |   +-- AmbiguousWait               several activations of the node wait
    |   +-- AlreadyAnswered             the wait was answered by another request
    |   +-- WaitTimeout                 the caller's patience ended; the run goes on
    +-- MessageError                    a queue message cannot be read; goes to the dead letters
    +-- RequestsLost                    requests to start runs are gone for good (topic_id, partition, start, end)
    +-- InfrastructureError             a server or disk is away; retryable, never fails a run
    |   +-- StoreUnavailable
    |   |   +-- StoreAccessDenied       a user, password, certificate or right is wrong
    |   +-- QueueUnavailable
    |   |   +-- QueueAccessDenied       likewise
    |   +-- StorageReadOnly
    |   +-- IsolationUnavailable        a process for a node that may have killed its worker cannot be started
    +-- WorkerFailed                    a part of a worker has ended; nothing is lost
    +-- SchemaMismatch                  the store has a layout that is not ours

A message is built from the class's template and the fields, and ``hint`` says what to do next, so
logs, tests and the command line agree on the wording.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

_SUGGESTIONS = 2
_LEAST_BEGINNING = 4
"""Characters of a name that may stand for the whole."""


def one_line(text: str) -> str:
    """Escape what is not printable: line breaks or lone surrogates in an id must not break a log or a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def suggest(name: str, names: Iterable[str], *, cutoff: float = 0.75) -> str:
    """A question about the names that are close to one that is not known, or begin with it; empty without such.

    Example:
        >>> suggest("helo", ["hello", "ask"])
        "Did you mean 'hello'? "
    """
    from difflib import get_close_matches

    known = list(dict.fromkeys(names))
    begun = [other for other in known if other.startswith(name)] if len(name) >= _LEAST_BEGINNING else []
    close = begun[:_SUGGESTIONS] or get_close_matches(name, known, n=_SUGGESTIONS, cutoff=cutoff)
    listed = " or ".join(f"'{one_line(other)}'" for other in close)
    return f"Did you mean {listed}? " if listed else ""


class FlowcraftError(Exception):
    """Base of every error of this package.

    Attributes:
        fields: what the message was built from, by name.
        hint: one sentence saying what to do next; may be empty.
        retryable: whether the same call may succeed later without a change.
    """

    template: ClassVar[str] = "{reason}"
    hint_template: ClassVar[str] = ""
    retryable: ClassVar[bool] = False

    def __init__(self, reason: str = "", **fields: Any) -> None:
        self.fields: dict[str, Any] = {"reason": reason, **fields}
        super().__init__(self._fill(self.template))

    def _fill(self, template: str) -> str:
        known = {"reason": "", "near": ""} | self.fields
        return template.format_map(_Fields(known)).strip()

    @property
    def hint(self) -> str:
        """What to do next, in one sentence; empty where there is nothing to say. A field ``advice`` goes before."""
        return self._fill(self.fields.get("advice", self.hint_template))

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.fields))


class _Fields(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _rebuild(kind: type[FlowcraftError], fields: dict[str, Any]) -> FlowcraftError:
    return kind(**fields)


class BlueprintError(FlowcraftError):
    """A blueprint is refused. Fields: blueprint_id, node_id or edge (``source -> target``), field, reason."""

    template = "blueprint '{blueprint_id}'{where}: {reason}"
    hint_template = "Mend the blueprint, then check it with 'flowcraft-dagster lint FILE.json'."

    def __init__(
        self,
        reason: str,
        *,
        blueprint_id: str = "?",
        node_id: str | None = None,
        edge: str | None = None,
        field: str | None = None,
    ) -> None:
        where = f", node '{node_id}'" if node_id is not None else ""
        where += f", edge '{edge}'" if edge is not None else ""
        where += f", field '{field}'" if field is not None else ""
        super().__init__(reason, blueprint_id=blueprint_id, node_id=node_id, edge=edge, field=field, where=where)

    def _fill(self, template: str) -> str:
        return one_line(super()._fill(template))

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {k: v for k, v in self.fields.items() if k != "where"}
        return (_rebuild, (type(self), fields))


class BlueprintUnreadable(BlueprintError):
    """The file or folder of a blueprint cannot be read. Fields: as BlueprintError."""

    hint_template = "Check the path and its permissions."


class UnknownBlueprint(FlowcraftError):
    """No blueprint with that id is known here. Fields: blueprint_id, known, near."""

    template = "blueprint '{blueprint_id}' is not known here"
    hint_template = "{near}Known: {known}. Register it on the app or name the app that has it with --app MODULE:ATTR."

    def __init__(self, *, blueprint_id: str, known: str = "none", near: str = "", reason: str = "") -> None:
        super().__init__(reason, blueprint_id=blueprint_id, known=known, near=near)


class ExpressionError(FlowcraftError):
    """An expression cannot be parsed or is over a limit. Fields: expression, reason, position."""

    template = "expression {expression!r}: {reason}"
    hint_template = "Expressions are property paths and JavaScript operators; calls are not allowed."


class SerializationError(FlowcraftError):
    """A value is not JSON. Fields: path (where in the value), kind (its type)."""

    template = "{path}: a value of type {kind} is not JSON{reason}"
    hint_template = "Use numbers, strings, booleans, None, lists and string-keyed dicts."


class SizeLimitExceeded(FlowcraftError):
    """Something is over its limit. Fields: what, size, limit (both in bytes)."""

    template = "{what} has {size} bytes, over the limit of {limit}"
    hint_template = "Keep large data in an object store and pass its address, or raise the limit in the settings."


class SettingsError(FlowcraftError):
    """A setting has no usable value. Fields: name, reason."""

    template = "setting {name}: {reason}"
    hint_template = "Set {name} in the environment or pass it to the settings; see docs/reference/settings.md."


class UnknownCursor(FlowcraftError):
    """A cursor is none of this listing: it is of another store, or was changed. Fields: cursor."""

    template = "cursor {cursor!r} is none of this listing"
    hint_template = "Begin anew, without a cursor."


class AppLoadError(FlowcraftError):
    """MODULE:ATTR does not lead to an app. Fields: target, reason."""

    template = "app '{target}': {reason}"
    hint_template = "Give MODULE:ATTR, for example 'examples.moderation:app', with the module importable from here."


class NodeError(FlowcraftError):
    """A node's own failure. It is retried, handed to the fallback, or ends its branch."""


class FatalNodeError(NodeError):
    """Raise it in a node to fail at once: no retry and no fallback."""


class NodeTimeout(NodeError):
    """One attempt ran longer than allowed. Fields: node_id, timeout_ms."""

    template = "node '{node_id}' ran longer than {timeout_ms} ms"
    hint_template = "Raise config.timeout (milliseconds an attempt) or make the node faster."


class NodeNotRegistered(NodeError):
    """This worker has no implementation for a node kind. Fields: uses, known, near."""

    template = "no node kind '{uses}' is registered here"
    hint_template = "{near}Register it with @app.node('{uses}') in the app that the worker loads."


class NodeCrashLoop(FatalNodeError):
    """The node killed the process that ran it. Fields: node_id, deaths."""

    template = "node '{node_id}' killed its process {deaths} times"
    hint_template = "Look for a segmentation fault or memory exhaustion in the node, then retry the run."


class LoopLimitExceeded(FatalNodeError):
    """A loop reached the limit of iterations. Fields: node_id, limit."""

    template = "loop '{node_id}' reached the limit of {limit} iterations"
    hint_template = "Check the loop's condition, or raise FLOWCRAFT_MAX_ITERATIONS."


class BatchLimitExceeded(FatalNodeError):
    """A batch has more items than a worker should hold. Fields: node_id, items, limit."""

    template = "batch '{node_id}' has {items} items, over the limit of {limit}"
    hint_template = "Give it fewer items at a time, for example in sub-flows, or raise FLOWCRAFT_MAX_BATCH_ITEMS."


class SubflowFailed(NodeError):
    """The child run of a sub-flow did not complete. Fields: node_id, child_run_id, status, reason."""

    template = "sub-flow '{node_id}' (run {child_run_id}) ended {status}: {reason}"


class RunError(FlowcraftError):
    """A request about a run cannot be carried out. Fields: run_id."""

    template = "run '{run_id}': {reason}"


class RunNotFound(RunError):
    """No run with that id. Fields: run_id, near."""

    template = "run '{run_id}' is not known"
    hint_template = "{near}List runs with 'flowcraft-dagster runs'; check FLOWCRAFT_BACKEND and FLOWCRAFT_HOME."


class RunConflict(RunError):
    """A run id is taken by another blueprint or context. Fields: run_id, reason."""

    template = "run '{run_id}' exists already with {reason}"
    hint_template = "Choose another run id, or start with the same blueprint and context to get that run."


class RunFinished(RunError):
    """The run has ended; finished runs never change. Fields: run_id, status."""

    template = "run '{run_id}' is {status} and never changes again"
    hint_template = "Start a new run."


class NotRetryable(RunError):
    """The run cannot be retried. Fields: run_id, reason."""

    template = "run '{run_id}' cannot be retried: {reason}"
    hint_template = "Only failed and cancelled top-level runs are retried; start a new run instead."


class NotWaiting(RunError):
    """The named node does not wait. Fields: run_id, node_id, waiting."""

    template = "run '{run_id}': node '{node_id}' does not wait for an answer"
    hint_template = "Waiting now: {waiting}."


class AmbiguousWait(RunError):
    """Several activations of the node wait. Fields: run_id, node_id, activations."""

    template = "run '{run_id}': several activations of node '{node_id}' wait"
    hint_template = "Name one of: {activations}."


class AlreadyAnswered(RunError):
    """The wait was answered by another request. Fields: run_id, activation."""

    template = "run '{run_id}': '{activation}' was answered already"
    hint_template = "The first answer stands; look at the run with 'flowcraft-dagster status {run_id}'."


class WaitTimeout(RunError):
    """The caller's patience ended; the run goes on. Fields: run_id, status, timeout_seconds."""

    template = "run '{run_id}' is still {status} after {timeout_seconds} s"
    hint_template = "The run goes on; wait again or look with 'flowcraft-dagster status {run_id}'."


class MessageError(FlowcraftError):
    """A queue message cannot be read. Fields: reason."""

    template = "unreadable message: {reason}"
    hint_template = "See it with 'flowcraft-dagster dead-letters list'."


class RequestsLost(FlowcraftError):
    """Requests to start runs are gone for good. Fields: queue, topic_id, partition, start, end (exclusive), reason."""

    template = "requests {start} to {last} of partition {partition} in {queue} are gone: {reason}"
    hint_template = "Whoever sent them must send them again; keep the topic longer than Dagster may be away."

    def __init__(
        self, reason: str = "", *, queue: str, topic_id: str, partition: int, start: int, end: int, last: int = 0
    ) -> None:
        place = {"queue": queue, "topic_id": topic_id, "partition": partition, "start": start, "end": end}
        super().__init__(reason, **place, last=end - 1)


class InfrastructureError(FlowcraftError):
    """A server or disk is away. Work pauses and goes on later; no run fails from it."""

    retryable = True


class StoreUnavailable(InfrastructureError):
    """The state store does not answer. Fields: store, reason."""

    template = "state store {store} is away: {reason}"
    hint_template = "Nothing is lost; check the server with 'flowcraft-dagster doctor'."


class QueueUnavailable(InfrastructureError):
    """The job queue does not answer. Fields: queue, reason."""

    template = "job queue {queue} is away: {reason}"
    hint_template = "Nothing is lost; check the broker with 'flowcraft-dagster doctor'."


class StoreAccessDenied(StoreUnavailable):
    """The state store lets this user not in, or not do this. Fields: store, reason, advice."""

    template = "no access to state store {store}: {reason}"
    hint_template = "Check user, password, certificates and rights; see docs/howto/production.md."


class QueueAccessDenied(QueueUnavailable):
    """The job queue lets this user not in, or not do this. Fields: queue, reason, advice."""

    template = "no access to job queue {queue}: {reason}"
    hint_template = "Check user, password, certificates and rights; see docs/howto/production.md."


class StorageReadOnly(InfrastructureError):
    """The data folder cannot be written. Fields: path, reason."""

    template = "cannot write to {path}: {reason}"
    hint_template = "Free space or give write permission, or set FLOWCRAFT_HOME to another folder."


class IsolationUnavailable(InfrastructureError):
    """A process for a node that may have killed its worker cannot be started. Fields: target, reason."""

    template = "no process of its own for a node of app '{target}': {reason}"
    hint_template = "Nothing is lost; see whether the app can be imported and whether memory is left."


class WorkerFailed(FlowcraftError):
    """A part of a worker has ended by an error of this package. Fields: part, reason."""

    template = "the worker cannot go on: {part}: {reason}"
    hint_template = "Nothing is lost: start the worker again, and report this."


class SchemaMismatch(FlowcraftError):
    """The store has a layout that is not ours. Fields: table, reason."""

    template = "table {table}: {reason}"
    hint_template = "Nothing was written. Use another keyspace or table name, or move the foreign table away."
