"""Which partition a key belongs to, and which member of a group holds which partition."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping


def choose_partition(key: str, partitions: int) -> int:
    """Partition of a key: the same in every process and release.

    Args:
        key: the message key; any text.
        partitions: how many partitions there are, at least 1.
    """
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % partitions


def assign_partitions(members: Iterable[str], holders: Mapping[int, str | None]) -> dict[int, str]:
    """Share partitions evenly and move as few as possible.

    Every member computes this from the same facts, so nobody has to lead the group.

    Args:
        members: ids of the living members.
        holders: who holds each partition now; None or an id that is no member counts as nobody.

    Returns:
        The member that should hold each partition; empty without members.

    Example:
        >>> assign_partitions(["a", "b"], {0: "a", 1: "a", 2: "a", 3: None})
        {0: 'a', 1: 'a', 2: 'b', 3: 'b'}
    """
    names = sorted(set(members))
    if not names:
        return {}
    held: dict[str, list[int]] = {name: [] for name in names}
    for partition in sorted(holders):
        holder = holders[partition]
        if holder in held:
            held[holder].append(partition)
    share, extra = divmod(len(holders), len(names))
    # Who holds most already gets the larger shares, so that the fewest partitions change hands.
    by_load = sorted(names, key=lambda name: (-len(held[name]), name))
    quota = {name: share + (1 if place < extra else 0) for place, name in enumerate(by_load)}
    target = {partition: name for name in names for partition in held[name][: quota[name]]}
    open_places = [name for name in names for _ in range(quota[name] - min(quota[name], len(held[name])))]
    free = [partition for partition in sorted(holders) if partition not in target]
    target.update(zip(free, open_places, strict=True))
    return dict(sorted(target.items()))
