"""Runs: statuses, the end of a run, cancellation."""

from __future__ import annotations

from tests.conformance.drafting import (
    ABSENT,
    Draft,
    Rule,
    add,
    batch,
    collect,
    const,
    counter,
    draft,
    echo,
    fail,
    flow,
    loop,
    node,
    put,
    route,
    slow,
    sub,
)

RULES = (
    Rule(
        "run.awaiting",
        "A run is awaiting only when nothing is ready or running in it and its children.",
        "It is awaiting as soon as one wait opens.",
    ),
    Rule(
        "run.end",
        "The run ends when nothing is ready, running or open.",
        "It ends with the first terminal node, or never.",
    ),
    Rule("run.context", "The context is always kept.", "A failed or cancelled run loses its context."),
    Rule(
        "run.cancel", "A cancelled run starts nothing more and keeps what was committed.", "Waits are answered or fail."
    ),
    Rule("run.cancel.children", "Cancelling goes down.", "A child goes on waiting or working."),
    Rule("run.cancel.failures", "Only a cancellation is `cancelled`; it beats earlier failures.", "The run is failed."),
    Rule(
        "run.order-free",
        "The result does not depend on how nodes are spread over workers.",
        "Lost or doubled starts when many nodes finish together.",
    ),
)

_WIDE = [add(f"w{index}", index) for index in range(12)]

DRAFTS: tuple[Draft, ...] = (
    draft(
        "run.awaiting",
        "after-a-slow-branch",
        flow([const("a", 1), node("w", "wait"), slow("s", 150, 2), put("p", "k")], "a > w", "a > s > p"),
        {"first": "awaiting", "status": "cancelled", "context": {"k": 2}, "outputs": {"p": 2}},
        resume=[{"cancel": "stop"}],
    ),
    draft(
        "run.awaiting",
        "after-a-working-child",
        flow([node("w", "wait"), sub("sf", "in", map_outputs={"k": "y"}), echo("z")], "sf > z"),
        {"first": "awaiting", "status": "cancelled", "outputs": {"z": {"k": 3}}, "context": {"k": 3}},
        resume=[{"cancel": "stop"}],
        subs={"in": flow([slow("x", 120, 2), add("y", 1)], "x > y")},
    ),
    draft(
        "run.awaiting",
        "child-waits-and-parent-works",
        flow([sub("sf", "in"), slow("s", 150, 2), put("p", "k"), collect("z", "sf", "p")], "s > p > z", "sf > z"),
        {"first": "awaiting", "outputs": {"z": ["A", 2]}},
        resume=[{"node": "sf/w", "output": "A"}],
        subs={"in": flow([node("w", "wait")])},
    ),
    draft(
        "run.awaiting",
        "batch-beside-a-wait",
        flow(
            [put("src", "items", [1, 2, 3]), node("w", "wait"), *batch("b", "square", "items", chunkSize=1)],
            "src > w",
            "src > b_scatter > b_gather",
        ),
        {"first": "awaiting", "status": "cancelled", "outputs": {"b_gather": [1, 4, 9]}, "workers": 3},
        resume=[{"cancel": "stop"}],
    ),
    draft("run.end", "no-edges", flow([const("a", 1), const("b", 2), put("p", "k", 3)]), {"context": {"k": 3}}),
    draft(
        "run.end",
        "one-node",
        flow([echo("a")]),
        {"outputs": {"a": None}, "ran": {"a": 1}},
    ),
    draft(
        "run.end",
        "short-and-long-branches",
        flow([const("a", 1), echo("short"), slow("b", 80, 2), add("c"), add("d")], "a > short", "a > b > c > d"),
        {"outputs": {"short": 1, "d": 4}},
    ),
    draft(
        "run.end",
        "every-branch-dies",
        flow([route("r", "x"), route("q", "x"), echo("z")], "r > z [y]", "q > z [y]"),
        {"status": "completed", "ran": {"z": 0}, "skipped": []},
    ),
    draft(
        "run.context",
        "completed",
        flow([put("a", "k", {"n": [1, None]}), put("b", "given", 2)], "a > b"),
        {"context": {"k": {"n": [1, None]}, "given": 2, "other": None}},
        context={"given": 1, "other": None},
    ),
    draft(
        "run.context",
        "failed",
        flow([put("a", "k", 1), fail("f"), echo("z")], "a > f > z"),
        {"status": "failed", "failed": ["f"], "context": {"k": 1, "given": [1]}},
        context={"given": [1]},
    ),
    draft(
        "run.context",
        "cancelled",
        flow([put("a", "k", 1), node("w", "wait"), put("b", "m", 2)], "a > w > b"),
        {"first": "awaiting", "status": "cancelled", "context": {"k": 1, "given": "x", "m": ABSENT}},
        context={"given": "x"},
        resume=[{"cancel": "stop"}],
    ),
    draft(
        "run.cancel",
        "several-waits",
        flow(
            [
                const("a", 1),
                node("w1", "wait"),
                node("w2", "wait"),
                node("h", "webhook"),
                node("s", "sleep", duration="2h"),
                echo("z"),
            ],
            "a > w1 > z",
            "a > w2 > z",
            "a > h",
            "a > s",
        ),
        {
            "first": "awaiting",
            "status": "cancelled",
            "ran": {"w1": 1, "w2": 1, "h": 1, "s": 1, "z": 0},
            "outputs": {"a": 1, "w1": ABSENT, "h": ABSENT, "s": ABSENT},
        },
        resume=[{"cancel": "stop"}],
    ),
    draft(
        "run.cancel",
        "between-two-waits",
        flow([node("w1", "wait"), put("p", "k"), node("w2", "wait"), echo("z")], "w1 > p > w2 > z"),
        {"first": "awaiting", "status": "cancelled", "outputs": {"w1": "A", "p": "A", "w2": ABSENT}, "ran": {"z": 0}},
        resume=[{"node": "w1", "output": "A"}, {"cancel": "stop"}],
    ),
    draft(
        "run.cancel",
        "in-a-loop",
        flow(
            [put("init", "c", 0), loop("lp", "c < 5"), counter("step", "c"), node("w", "wait"), echo("end")],
            "init > lp",
            "lp > step [continue]",
            "step > w > lp",
            "lp > end [break]",
        ),
        {
            "first": "awaiting",
            "status": "cancelled",
            "ran": {"w": 2, "lp": 2, "end": 0},
            "outputs": {"w": "A"},
            "context": {"c": 2},
        },
        resume=[{"node": "w", "output": "A"}, {"cancel": "stop"}],
    ),
    draft(
        "run.cancel",
        "no-fallback",
        flow([node("w", "wait", fallback="fb"), const("fb", 1), echo("z")], "w > z"),
        {"first": "awaiting", "status": "cancelled", "ran": {"w": 1, "fb": 0, "z": 0}},
        resume=[{"cancel": "stop"}],
    ),
    draft(
        "run.cancel.children",
        "waiting-child",
        flow(
            [const("a", 1), sub("sf", "in", fallback="fb", map_outputs={"k": "x"}), const("fb", 2), echo("z")],
            "a > sf > z",
        ),
        {
            "first": "awaiting",
            "status": "cancelled",
            "ran": {"sf": 1, "fb": 0, "z": 0},
            "outputs": {"sf": ABSENT},
            "context": {"k": ABSENT},
        },
        resume=[{"cancel": "stop"}],
        subs={"in": flow([put("x", "k", 1), node("w", "wait")], "x > w")},
    ),
    draft(
        "run.cancel.children",
        "two-levels-and-a-sibling",
        flow([sub("sf", "mid"), node("w", "wait"), echo("z")], "sf > z", "w > z"),
        {"first": "awaiting", "status": "cancelled", "ran": {"sf": 1, "w": 1, "z": 0}},
        resume=[{"cancel": "stop"}],
        subs={"mid": flow([sub("deep", "in"), node("s", "sleep", duration="1d")]), "in": flow([node("w", "wait")])},
    ),
    draft(
        "run.cancel.children",
        "after-one-child-ended",
        flow([sub("s1", "in"), sub("s2", "in"), echo("z1"), echo("z2")], "s1 > z1", "s2 > z2"),
        {"first": "awaiting", "status": "cancelled", "outputs": {"s1": "A", "z1": "A", "s2": ABSENT}, "ran": {"z2": 0}},
        resume=[{"node": "s1/w", "output": "A"}, {"cancel": "stop"}],
        subs={"in": flow([node("w", "wait")])},
    ),
    draft(
        "run.cancel.failures",
        "unhandled",
        flow([fail("f"), node("w", "wait")]),
        {"first": "awaiting", "status": "cancelled", "failed": ["f"]},
        resume=[{"cancel": "stop"}],
    ),
    draft(
        "run.cancel.failures",
        "handled",
        flow([fail("f", fallback="fb"), const("fb", 1), node("w", "wait")]),
        {"first": "awaiting", "status": "cancelled", "failed": ["f"], "outputs": {"fb": 1, "f": None}},
        resume=[{"cancel": "stop"}],
    ),
    draft(
        "run.cancel.failures",
        "message-about-cancelling",
        flow([fail("f", message="Workflow cancelled"), const("a", 1), echo("z")], "a > z"),
        {"status": "failed", "failed": ["f"], "outputs": {"z": 1}},
    ),
    draft(
        "run.order-free",
        "wide",
        flow(
            [const("s", 100), *_WIDE, collect("j", *[str(one["id"]) for one in _WIDE])],
            *[f"s > w{index} > j" for index in range(12)],
        ),
        {"outputs": {"j": [100 + index for index in range(12)]}, "ran": {"j": 1}},
    ),
    draft(
        "run.order-free",
        "grid",
        flow(
            [const("s", 0), *[add(f"n{row}{column}", row) for row in range(4) for column in range(4)]],
            *[f"s > n0{column}" for column in range(4)],
            *[f"n{row}{a} > n{row + 1}{b}" for row in range(3) for a in range(4) for b in range(4)],
        ),
        {"outputs": {"n33": 6, "n30": 6}, "ran": {"n33": 1, "n10": 1}},
    ),
    draft(
        "run.order-free",
        "many-start-nodes-and-an-any-join",
        flow(
            [*[const(f"c{index}", "same") for index in range(8)], echo("j", join="any"), counter("n", "k")],
            *[f"c{index} > j" for index in range(8)],
            "j > n",
        ),
        {"outputs": {"j": "same", "n": 1}, "ran": {"j": 1, "n": 1}},
    ),
)
