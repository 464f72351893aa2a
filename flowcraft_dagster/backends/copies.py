"""How many servers keep each piece of data, and whether that is enough away from a developer's machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

SAFE_SYNC = frozenset({"batch", "group"})
"""Values of Cassandra's ``commitlog_sync`` with which a write is on the disk before it is acknowledged."""


def count_copies(replication: Mapping[str, str]) -> int:
    """Copies in the data centre that has the fewest.

    Args:
        replication: of a keyspace, as ``system_schema.keyspaces`` shows it.

    Example:
        >>> count_copies({"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "a": "3", "b": "1"})
        1
    """
    # A number with transient copies is written "3/1".
    counts = [int(value.partition("/")[0]) for name, value in replication.items() if name != "class"]
    return min(counts, default=1)


def are_remote(hosts: Iterable[str]) -> bool:
    """Whether any of the hosts is another machine than this one, as far as names tell.

    Example:
        >>> are_remote(["127.0.0.1", "localhost"]), are_remote(["db-1.internal"])
        (False, True)
    """
    return not all(_is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def warn_of_keyspace(keyspace: str, copies: int, commitlog_sync: str | None) -> str | None:
    """What a single copy puts at risk; None when acknowledged commits are safe.

    Args:
        keyspace: its name.
        copies: see :func:`count_copies`.
        commitlog_sync: the server's setting; None where it cannot be read.
    """
    if copies > 1 or commitlog_sync in SAFE_SYNC:
        return None
    return (
        f"keyspace {keyspace} has one copy, commitlog_sync is {commitlog_sync or 'unknown'}: when its node is killed,"
        " commits of the last seconds that were acknowledged may be lost. Use three copies, or commitlog_sync: group"
    )


def warn_of_topics(topics: Iterable[tuple[str, int]]) -> str | None:
    """What topics with a single copy put at risk; None when there are none.

    Args:
        topics: names and numbers of copies.
    """
    single = [name for name, copies in topics if copies == 1]
    if not single:
        return None
    return f"one copy of {', '.join(single)}: messages are lost with their broker's disk. Use three copies"
