"""The worker group in the file: who is a member, and who holds which partition.

Nobody leads. Every member works out the same assignment from the same rows, gives up what is not its own and takes
what is free; the rows change only inside a transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from flowcraft_dagster.backends.embedded.writer import WriteKind


@dataclass(frozen=True, slots=True)
class GroupView:
    """The group as it stands.

    Attributes:
        members: ids of all members.
        holders: holder of each partition, None where it is free.
    """

    members: frozenset[str]
    holders: dict[int, str | None]


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What one member wants to change.

    Attributes:
        member_id, worker_id, slot: the member; it joins unless it leaves.
        dead: members found dead; what they hold becomes free.
        take: partitions to hold, those of them that are free then.
        release: partitions to give up.
        leave: give up everything and the membership.
    """

    member_id: str
    worker_id: str
    slot: str
    dead: frozenset[str] = frozenset()
    take: frozenset[int] = frozenset()
    release: frozenset[int] = frozenset()
    leave: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """Messages that a member is done with, by partition and offset."""

    member_id: str
    places: tuple[tuple[int, int], ...]


def read_group(connection: sqlite3.Connection) -> GroupView:
    """Members and holders, read in one statement so that they fit together."""
    rows = connection.execute(
        "SELECT NULL, member_id FROM members UNION ALL SELECT partition, holder FROM partitions"
    ).fetchall()
    return GroupView(
        frozenset(name for partition, name in rows if partition is None),
        {partition: holder for partition, holder in rows if partition is not None},
    )


def read_counters(connection: sqlite3.Connection) -> tuple[int, int]:
    """The numbers of the last change of the group and of the last message."""
    values = dict(connection.execute("SELECT name, value FROM counters").fetchall())
    return values["group"], values["offset"]


def _change_group(connection: sqlite3.Connection, changes: Sequence[GroupChange]) -> list[frozenset[int]]:
    """Returns, for each change, the partitions that the member holds afterwards."""
    results: list[frozenset[int]] = []
    for change in changes:
        me = (change.member_id,)
        gone = sorted(change.dead) + ([change.member_id] if change.leave else [])
        for name in gone:
            connection.execute("UPDATE partitions SET holder = NULL WHERE holder = ?", (name,))
            connection.execute("DELETE FROM members WHERE member_id = ?", (name,))
        if not change.leave:
            connection.execute("INSERT OR IGNORE INTO members VALUES (?, ?, ?)", (*me, change.worker_id, change.slot))
            for partition in sorted(change.release):
                connection.execute(
                    "UPDATE partitions SET holder = NULL WHERE partition = ? AND holder = ?", (partition, *me)
                )
            for partition in sorted(change.take):
                connection.execute(
                    "UPDATE partitions SET holder = ? WHERE partition = ? AND holder IS NULL", (*me, partition)
                )
        connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'group'")
        held = connection.execute("SELECT partition FROM partitions WHERE holder = ?", me).fetchall()
        results.append(frozenset(partition for (partition,) in held))
    return results


def _settle(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[None]:
    """Delete settled messages of partitions that their member still holds."""
    for settlement in settlements:
        connection.execute(
            """DELETE FROM messages WHERE (partition, "offset") IN
                (SELECT p.partition, json_extract(done.value, '$[1]') FROM json_each(?) AS done
                 CROSS JOIN partitions AS p ON p.partition = json_extract(done.value, '$[0]') AND p.holder = ?)""",
            (json.dumps(settlement.places), settlement.member_id),
        )
    return [None] * len(settlements)


SETTLE = WriteKind(40, _settle)
CHANGE_GROUP = WriteKind(41, _change_group)
