"""A run's context in memory: every value once, as JSON, readable as it was at any commit still looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.engine.values import UNDEFINED

OUTPUT_PREFIX = "_outputs."
INPUT_PREFIX = "_inputs."
CATCH_ERROR = "_catch_error"
_FEW_VERSIONS = 8


class Stored:
    """One JSON value, decoded when somebody asks."""

    __slots__ = ("_shared", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._shared: Any = UNDEFINED

    def copy(self) -> Any:
        """A private copy that user code may change."""
        return decode(self.data)

    def peek(self) -> Any:
        """The value for reading only; decoded once."""
        if self._shared is UNDEFINED:
            self._shared = decode(self.data)
        return self._shared


class VersionedContext:
    """Values by key, with older versions kept only while a snapshot may ask for them."""

    __slots__ = ("_pins", "_values")

    def __init__(self, initial: Mapping[str, Stored]) -> None:
        self._values: dict[str, list[tuple[int, Stored | None]]] = {
            key: [(0, value)] for key, value in initial.items()
        }
        self._pins: dict[int, int] = {}

    def write(self, key: str, version: int, value: Stored | None) -> None:
        """Set ``key`` as of ``version``; None removes it."""
        versions = self._values.get(key)
        if versions is None:
            self._values[key] = [(version, value)]
        elif self._pins or versions[-1][0] == version:
            versions.append((version, value))
            if len(versions) > 2 * len(self._pins) + _FEW_VERSIONS:
                self._prune(versions)
        elif value is None:
            # Deleting and setting again moves a key to the end, as in a JavaScript map.
            del self._values[key]
        else:
            versions[:] = [(version, value)]

    def read(self, key: str, version: int) -> Stored | None:
        """The value as of ``version``, or None."""
        versions = self._values.get(key)
        if versions is not None:
            for written, value in reversed(versions):
                if written <= version:
                    return value
        return None

    def keys(self, version: int) -> Iterator[str]:
        """Keys with a value as of ``version``."""
        return (key for key in list(self._values) if self.read(key, version) is not None)

    def pin(self, version: int) -> None:
        """Keep what was there at ``version`` from now on: a snapshot is in use."""
        self._pins[version] = self._pins.get(version, 0) + 1

    def unpin(self, version: int) -> None:
        """A snapshot of ``version`` is no longer in use."""
        left = self._pins[version] - 1
        if left:
            self._pins[version] = left
        else:
            del self._pins[version]

    def _prune(self, versions: list[tuple[int, Stored | None]]) -> None:
        """Drop what nobody sees: a node that takes long must not keep all that a loop beside it has written since."""
        versions[:] = [
            here
            for here, after in pairwise(versions)
            if any(here[0] <= pin < after[0] for pin in self._pins)
        ] + versions[-1:]


class Snapshot:
    """The context as of one commit: what a node sees that starts then.

    Names resolve in this order: ``_catch_error`` of a fallback's own start, keys as stored, node ids (their output).
    A node's output outranks a context key of the same name.
    """

    __slots__ = ("_catch_error", "_context", "_node_ids", "version")

    def __init__(
        self,
        context: VersionedContext,
        version: int,
        node_ids: Mapping[str, Any],
        catch_error: Stored | None = None,
    ) -> None:
        self._context = context
        self.version = version
        self._node_ids = node_ids
        self._catch_error = catch_error

    @property
    def node_ids(self) -> Iterator[str]:
        """Ids of nodes, which resolve to their output once they ran."""
        return iter(self._node_ids)

    def find(self, key: str) -> Stored | None:
        """The stored value a name leads to, or None."""
        if key == CATCH_ERROR:
            return self._catch_error
        if key in self._node_ids:
            output = self._context.read(OUTPUT_PREFIX + key, self.version)
            if output is not None:
                return output
        return self._context.read(key, self.version)

    def find_key(self, key: str) -> Stored | None:
        """The value stored under the very key, node ids left out."""
        return self._context.read(key, self.version)

    def read(self, key: str) -> Any:
        """A private copy of the value, or ``UNDEFINED``."""
        stored = self.find(key)
        return UNDEFINED if stored is None else stored.copy()

    def peek(self, key: str) -> Any:
        """The value for reading only, or ``UNDEFINED``."""
        stored = self.find(key)
        return UNDEFINED if stored is None else stored.peek()

    def keys(self) -> Iterator[str]:
        """Keys with a value, inputs left out."""
        return (key for key in self._context.keys(self.version) if not key.startswith(INPUT_PREFIX))
