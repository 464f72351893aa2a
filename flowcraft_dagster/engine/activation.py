"""Activations: the execution slots of a run, and their keys.

An activation is a node in one iteration of every loop that encloses it, or a batch item, or a fallback's start.
The key is stable across retries, redeliveries and workers::

    step            a node outside loops
    step#2          the third iteration of its loop
    step#2.0        nested loops, outermost first
    scatter[3]      the fourth item of a batch
    fix@step#2      fallback node ``fix``, started by the failure of ``step#2``

Node ids may be any text; the five characters with a meaning here are percent-encoded inside a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_RESERVED = re.compile(r"[%#@\[\]]")
_KEY_PARTS = re.compile(r"[#@\[]")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


@dataclass(frozen=True)
class Activation:
    """One execution slot.

    Attributes:
        node_id: the node; for a batch item the scatter node.
        iterations: iteration numbers of the enclosing loops, outermost first.
        item: index of the batch item, or None.
        cause: the activation whose failure started this fallback, or None.
    """

    node_id: str
    iterations: tuple[int, ...] = ()
    item: int | None = None
    cause: Activation | None = None

    @cached_property
    def key(self) -> str:
        """The stable text form.

        Example:
            >>> Activation("step", (2, 0)).key, Activation("fix", (2,), cause=Activation("a#b", (2,))).key
            ('step#2.0', 'fix@a%23b#2')
        """
        name = escape_node_id(self.node_id)
        if self.cause is not None:
            # The failing activation's key already tells the iterations.
            name += f"@{self.cause.key}"
        elif self.iterations:
            name += "#" + ".".join(map(str, self.iterations))
        return name if self.item is None else f"{name}[{self.item}]"

    @property
    def rank(self) -> tuple[tuple[int, ...], int]:
        """Sorts activations of one node: highest iteration last, outermost loop first."""
        return self.iterations, -1 if self.item is None else self.item


def find_node_id(key: str) -> str:
    """The node of an activation key.

    Example:
        >>> find_node_id("a%23b#2"), find_node_id("fix@step#2")
        ('a#b', 'fix')
    """
    return unescape_node_id(_KEY_PARTS.split(key, 1)[0])


def escape_node_id(node_id: str) -> str:
    """A node id as it stands in keys."""
    if _RESERVED.search(node_id) is None:
        return node_id
    return _RESERVED.sub(lambda match: f"%{ord(match.group()):02X}", node_id)


def unescape_node_id(text: str) -> str:
    """The inverse of :func:`escape_node_id`."""
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), text)
