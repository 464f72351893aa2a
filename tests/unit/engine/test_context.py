"""Values as they were at each commit that somebody still looks at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowcraft_dagster.engine.context import Stored, VersionedContext


def test_a_loop_beside_a_long_node_keeps_no_values_that_nobody_sees() -> None:
    context = VersionedContext({"k": Stored(b"0")})
    context.pin(3)
    for version in range(1, 5_000):
        context.write("k", version, Stored(b"%d" % version))
    seen = context.read("k", 3)
    assert seen is not None
    assert seen.data == b"3"
    assert len(context._values["k"]) < 20
    context.unpin(3)
    context.write("k", 5_000, Stored(b"last"))
    assert len(context._values["k"]) == 1


STEPS = st.lists(st.sampled_from(["write", "remove", "pin", "unpin"]), max_size=200)


@given(STEPS)
def test_a_pinned_version_is_seen_as_it_was(steps: list[str]) -> None:
    context = VersionedContext({})
    version, value = 0, None
    pinned: list[tuple[int, bytes | None]] = []
    for step in steps:
        if step in ("write", "remove"):
            version += 1
            value = b"%d" % version if step == "write" else None
            context.write("k", version, None if value is None else Stored(value))
        elif step == "pin":
            context.pin(version)
            pinned.append((version, value))
        elif pinned:
            context.unpin(pinned.pop(version % len(pinned))[0])
        for at, expected in [*pinned, (version, value)]:
            seen = context.read("k", at)
            assert (None if seen is None else seen.data) == expected
