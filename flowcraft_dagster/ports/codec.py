"""Values to bytes and back."""

from __future__ import annotations

from typing import Any, Protocol


class Codec(Protocol):
    """How JSON values are written; must be deterministic and reversible."""

    def encode(self, value: Any, path: str) -> bytes:
        """Write a value.

        Args:
            value: JSON; ``UNDEFINED`` members vanish, list items become null, NaN and infinities become null.
            path: names the value in errors, for example ``output of 'step'``.

        Raises:
            SerializationError: something inside is not JSON.
        """
        ...

    def decode(self, data: bytes) -> Any:
        """Read a value; a fresh copy every time."""
        ...
