"""Sharing partitions: even, stable, and the same for everybody."""

from __future__ import annotations

import random

from flowcraft_dagster.backends.partitions import assign_partitions, choose_partition


def test_a_key_keeps_its_partition_for_ever() -> None:
    # Fixed values: other processes and later releases must agree with what lies in the queue.
    # The last one is the check value of CRC-32, 0xCBF43926.
    assert [choose_partition(key, 12) for key in ("", "run-1", "run-2", "Zoë")] == [0, 11, 9, 2]
    assert choose_partition("123456789", 2**32) == 0xCBF43926


def test_keys_spread_over_all_partitions() -> None:
    counts = [0] * 12
    for place in range(12_000):
        counts[choose_partition(f"run-{place}", 12)] += 1
    assert min(counts) > 800


def test_nobody_holds_anything_without_members() -> None:
    assert assign_partitions([], {0: "a", 1: None}) == {}


def test_everything_is_assigned_evenly_whatever_was_before() -> None:
    dice = random.Random(11)
    for _ in range(500):
        members = [f"m{place}" for place in range(dice.randint(1, 7))]
        holders = {place: dice.choice([*members, "gone", None]) for place in range(dice.randint(1, 20))}
        target = assign_partitions(members, holders)
        assert target.keys() == holders.keys()
        loads = [list(target.values()).count(name) for name in members]
        assert max(loads) - min(loads) <= 1
        shuffled = dict(dice.sample(sorted(holders.items()), len(holders)))
        assert assign_partitions(dice.sample(members, len(members)), shuffled) == target, "members would disagree"
        assert assign_partitions(members, dict(target)) == target, "an even assignment must stay"


def test_as_few_partitions_as_possible_change_hands() -> None:
    holders: dict[int, str | None] = dict.fromkeys(range(12), "a")
    target = assign_partitions(["a", "b"], holders)
    assert sum(target[place] != "a" for place in holders) == 6
    after = assign_partitions(["a", "b", "c"], dict(target))
    assert sum(after[place] != target[place] for place in target) == 4
    dead = assign_partitions(["a", "c"], dict(after))
    assert all(dead[place] == name for place, name in after.items() if name != "b")
