"""Joins: when they fire, with which value, and what is reported when they do not."""

from __future__ import annotations

from tests.conformance.drafting import (
    ABSENT,
    Draft,
    Rule,
    add,
    collect,
    concat,
    const,
    counter,
    draft,
    echo,
    fail,
    flow,
    loop,
    pick,
    put,
    route,
    slow,
)

RULES = (
    Rule(
        "joins.all.fires",
        "An `all` join fires when every distinct source has a taken edge into it in this iteration.",
        "It fires early, or again for each source.",
    ),
    Rule(
        "joins.all.distinct",
        "Every *distinct source* counts, not every edge.",
        "Two edges of one source count as two sources; one untaken edge of a pair blocks the join.",
    ),
    Rule(
        "joins.all.untaken",
        "An edge that was not taken never satisfies it: the node is skipped and the run completes.",
        "Finished sources are counted instead of taken edges; the run hangs or stalls.",
    ),
    Rule(
        "joins.skipped",
        "`skipped_nodes`: nodes with a taken incoming edge of which no activation started.",
        "Every node that never ran is reported, or none.",
    ),
    Rule(
        "joins.all.value",
        "Without `inputs`, an `all` join gets the value of its last taken edge in the blueprint's order.",
        "Whoever finished last, or the last node in the blueprint's order, gives the value.",
    ),
    Rule(
        "joins.any.once",
        "An `any` join fires once per activation, on the first taken edge.",
        "Later edges start it again.",
    ),
    Rule(
        "joins.any.value",
        "An `any` join gets the value of the edge that fired it.",
        "It gets the value of the last taken edge, or of one that came after it started.",
    ),
    Rule(
        "joins.any.one-commit",
        "Of two edges in one commit, the first in the blueprint's order fires an `any` join.",
        "The last one overwrites the first.",
    ),
    Rule(
        "joins.any.untaken",
        "An `any` join needs a taken edge; untaken ones do not matter.",
        "A finished or failed source starts it, or an untaken edge blocks it.",
    ),
    Rule(
        "joins.inputs.plain",
        "With `inputs`, plain edges do not override them.",
        "The edge's value beats the mapping.",
    ),
    Rule(
        "joins.inputs.transform",
        "With `inputs`, only the last taken edge with a transform overrides them.",
        "The last edge wins whether it has a transform or not; the first transform wins; transforms are ignored.",
    ),
)

_AB = [const("s", 1), const("a", "A"), const("b", "B")]

_ALL = (
    draft(
        "joins.all.fires",
        "waits-for-the-slow-one",
        flow(
            [const("s", 1), slow("a", 150, "A"), const("b", "B"), collect("j", "a", "b"), counter("n", "runs")],
            "s > a > j",
            "s > b > j",
            "j > n",
        ),
        {"ran": {"j": 1, "n": 1}, "outputs": {"j": ["A", "B"], "n": 1}},
    ),
    draft(
        "joins.all.fires",
        "different-distances",
        flow(
            [const("s", 1), add("a"), add("b"), add("c"), collect("j", "s", "a", "c"), counter("n", "runs")],
            "s > j",
            "s > a > j",
            "a > b > c > j",
            "j > n",
        ),
        {"ran": {"j": 1, "n": 1}, "outputs": {"j": [1, 2, 4], "n": 1}},
    ),
    draft(
        "joins.all.fires",
        "joins-in-a-row",
        flow(
            [*_AB, const("c", "C"), collect("j", "a", "b"), collect("k", "j", "c")],
            "s > a > j > k",
            "s > b > j",
            "s > c > k",
        ),
        {"ran": {"j": 1, "k": 1}, "outputs": {"k": [["A", "B"], "C"]}},
    ),
    draft(
        "joins.all.fires",
        "start-nodes",
        flow([const("a", 1), const("b", 2), const("c", 3), counter("j", "n")], "a > j", "b > j", "c > j"),
        {"ran": {"j": 1}, "outputs": {"j": 1}},
    ),
)

_DISTINCT = (
    draft(
        "joins.all.distinct",
        "one-of-two-edges",
        flow(
            [route("r", "x"), const("b", "B"), collect("j", "r", "b")],
            "r > j [x]",
            "r > j [y]",
            "b > j",
        ),
        {"ran": {"j": 1}, "skipped": []},
    ),
    draft(
        "joins.all.distinct",
        "both-of-two-edges",
        flow(
            [const("a", 5), const("b", "B"), counter("j", "n")],
            "a > j {result.output > 1}",
            "a > j {result.output > 2}",
            "b > j",
        ),
        {"ran": {"j": 1}, "outputs": {"j": 1}},
    ),
    draft(
        "joins.all.distinct",
        "two-edges-do-not-make-up-for-a-source",
        flow(
            [const("a", 5), const("b", 1), echo("j")],
            "a > j {result.output > 1}",
            "a > j {result.output > 2}",
            "b > j {result.output > 2}",
        ),
        {"ran": {"j": 0}, "skipped": ["j"]},
    ),
)

_UNTAKEN = (
    draft(
        "joins.all.untaken",
        "if-else",
        flow(
            [route("r", "l"), const("l", 1), const("q", 2), collect("j", "l", "q"), echo("z")],
            "r > l [l]",
            "r > q [q]",
            "l > j",
            "q > j > z",
        ),
        {"ran": {"l": 1, "q": 0, "j": 0, "z": 0}, "skipped": ["j"]},
    ),
    draft(
        "joins.all.untaken",
        "false-condition",
        flow([const("a", 1), const("b", 2), echo("j")], "a > j", "b > j {result.output > 5}"),
        {"ran": {"a": 1, "b": 1, "j": 0}, "skipped": ["j"]},
    ),
    draft(
        "joins.all.untaken",
        "one-source-may-reach-it-later",
        flow(
            [route("r", "no"), const("a", "A"), const("b", "B"), echo("j"), const("other", 3)],
            "a > j",
            "r > b [yes]",
            "b > j",
            "r > other",
        ),
        {"ran": {"j": 0, "b": 0, "other": 1}, "skipped": ["j"]},
    ),
    draft(
        "joins.all.untaken",
        "in-one-iteration-only",
        flow(
            [
                put("init", "c", 0),
                loop("lp", "c < 3"),
                counter("step", "c"),
                echo("x"),
                concat("merge", "!"),
                pick("end", "c"),
            ],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "step > x {c === 2}",
            "x > merge",
            "step > merge",
            "lp > end [break]",
        ),
        {"ran": {"step": 3, "x": 1, "merge": 1}, "outputs": {"merge": "2!"}, "skipped": []},
    ),
)

_SKIPPED = (
    draft(
        "joins.skipped",
        "untouched-nodes-are-not-reported",
        flow([route("r", "a"), const("a", 1), const("b", 2), echo("z")], "r > a [a]", "r > b [b]", "b > z"),
        {"ran": {"b": 0, "z": 0}, "skipped": []},
    ),
    draft(
        "joins.skipped",
        "several-sorted",
        flow(
            [route("r", "a"), const("a", 1), const("b", 2), echo("z"), echo("m"), echo("after")],
            "r > a [a]",
            "r > b [b]",
            "a > z",
            "b > z",
            "a > m",
            "b > m > after",
        ),
        {"skipped": ["m", "z"]},
    ),
    draft(
        "joins.skipped",
        "beside-a-failure",
        flow([const("s", 1), fail("a"), echo("b"), echo("j"), echo("z")], "s > a > j > z", "s > b > j"),
        {"status": "failed", "failed": ["a"], "skipped": ["j"], "ran": {"j": 0}},
    ),
    draft(
        "joins.skipped",
        "body-of-a-loop-that-is-not-entered",
        flow(
            [const("base", 1), loop("lp", "1 === 2"), echo("x"), echo("j"), echo("end")],
            "base > lp",
            "base > j",
            "lp > x [continue]",
            "x > j > lp",
            "lp > end [break]",
        ),
        {"ran": {"x": 0, "j": 0, "end": 1}, "skipped": ["j"]},
    ),
)

_VALUE = (
    draft(
        "joins.all.value",
        "order-of-edges-not-of-nodes",
        flow([*_AB, concat("j", "!")], "s > a", "s > b > j", "a > j"),
        {"outputs": {"j": "A!"}},
    ),
    draft(
        "joins.all.value",
        "not-the-last-to-finish",
        flow([const("s", 1), slow("a", 150, "slow"), const("b", "fast"), concat("j", "!")], "s > a > j", "s > b > j"),
        {"outputs": {"j": "fast!"}},
    ),
    draft(
        "joins.all.value",
        "last-taken",
        flow(
            [const("a", "A"), const("b", "B"), concat("j", "!")],
            "a > j",
            "b > j",
            'a > j {result.output === "B"}',
        ),
        {"outputs": {"j": "B!"}},
    ),
    draft(
        "joins.all.value",
        "transform-on-the-last",
        flow(
            [const("a", 2), const("b", 3), add("j", 1)],
            "b > j | input * 100",
            "a > j | input * 10",
        ),
        {"outputs": {"j": 21}},
    ),
    draft(
        "joins.all.value",
        "same-source-twice",
        flow(
            [const("a", 2), const("b", 3), add("j", 0)],
            "a > j {1 === 1} | input * 10",
            "b > j",
            "a > j {2 === 2} | input * 100",
        ),
        {"outputs": {"j": 200}},
    ),
)

_ANY = (
    draft(
        "joins.any.once",
        "three-sources",
        flow(
            [const("s", 1), echo("a"), echo("b"), slow("c", 100, 1), counter("j", "n", join="any"), echo("z")],
            "s > a > j",
            "s > b > j",
            "s > c > j > z",
        ),
        {"ran": {"j": 1, "z": 1}, "outputs": {"j": 1}},
    ),
    draft(
        "joins.any.once",
        "different-distances",
        flow(
            [const("s", 1), echo("a"), echo("b"), echo("c"), counter("j", "n", join="any"), counter("z", "m")],
            "s > j > z",
            "s > a > b > c > j",
        ),
        {"ran": {"j": 1, "z": 1, "c": 1}, "context": {"n": 1, "m": 1}},
    ),
    draft(
        "joins.any.once",
        "edge-that-comes-after-a-wait",
        flow(
            [const("s", 1), {"id": "w", "uses": "wait"}, counter("j", "n", join="any"), echo("z")],
            "s > j > z",
            "s > w > j",
        ),
        {"first": "awaiting", "ran": {"j": 1, "w": 1, "z": 1}, "context": {"n": 1}},
        resume=[{"node": "w", "output": "late"}],
    ),
    draft(
        "joins.any.once",
        "in-every-iteration",
        flow(
            [
                put("init", "c", 0),
                loop("lp", "c < 2"),
                counter("step", "c"),
                echo("x"),
                echo("y"),
                counter("merge", "n", join="any"),
                pick("end", "n"),
            ],
            "init > lp",
            "lp > step [continue]",
            "step > x > merge",
            "step > y > merge > lp",
            "lp > end [break]",
        ),
        {"ran": {"merge": 2, "x": 2, "y": 2}, "outputs": {"end": 2}},
    ),
)

_ANY_VALUE = (
    draft(
        "joins.any.value",
        "the-only-taken-edge",
        flow(
            [route("r", "b"), const("a", "A"), const("b", "B"), concat("j", "!", join="any")],
            "r > a [a]",
            "r > b [b]",
            "b > j",
            "a > j",
        ),
        {"outputs": {"j": "B!"}},
    ),
    draft(
        "joins.any.value",
        "nearest-source",
        flow(
            [const("s", "S"), concat("a", "-a"), concat("b", "-b"), concat("j", "!", join="any")],
            "a > b > j",
            "a > j",
            "s > a",
        ),
        {"outputs": {"j": "S-a!"}},
    ),
    draft(
        "joins.any.value",
        "a-wait-comes-later",
        flow(
            [const("s", "S"), {"id": "w", "uses": "wait"}, concat("j", "!", join="any"), echo("z")],
            "w > j",
            "s > w",
            "s > j > z",
        ),
        {"first": "awaiting", "outputs": {"j": "S!", "z": "S!", "w": "late"}},
        resume=[{"node": "w", "output": "late"}],
    ),
    draft(
        "joins.any.value",
        "with-its-transform",
        flow(
            [const("s", 3), echo("b"), echo("j", join="any")],
            "s > b > j | input + 100",
            "s > j | input + 10",
        ),
        {"outputs": {"j": 13}},
    ),
)

_ONE_COMMIT = (
    draft(
        "joins.any.one-commit",
        "first-of-two",
        flow(
            [const("s", 3), echo("j", join="any")],
            "s > j {1 === 1} | input + 1",
            "s > j {2 === 2} | input + 2",
        ),
        {"outputs": {"j": 4}, "ran": {"j": 1}},
    ),
    draft(
        "joins.any.one-commit",
        "first-taken-of-three",
        flow(
            [const("s", 3), echo("j", join="any")],
            "s > j {1 === 2} | input + 1",
            "s > j {2 === 2} | input + 2",
            "s > j {3 === 3} | input + 3",
        ),
        {"outputs": {"j": 5}, "ran": {"j": 1}},
    ),
    draft(
        "joins.any.one-commit",
        "own-and-inherited",
        flow(
            [fail("f", fallback="fb"), const("fb", 3), echo("j", join="any")],
            "fb > j | input + 1",
            "f > j | input + 2",
        ),
        {"outputs": {"j": 4}, "ran": {"j": 1}, "failed": ["f"]},
    ),
    draft(
        "joins.any.one-commit",
        "inherited-before-own",
        flow(
            [fail("f", fallback="fb"), const("fb", 3), echo("j", join="any")],
            "f > j | input + 2",
            "fb > j | input + 1",
        ),
        {"outputs": {"j": 5}, "ran": {"j": 1}, "failed": ["f"]},
    ),
)

_ANY_UNTAKEN = (
    draft(
        "joins.any.untaken",
        "none-taken",
        flow(
            [const("a", 1), const("b", 2), echo("j", join="any"), echo("z")],
            "a > j {result.output > 5}",
            "b > j {result.output > 5}",
            "j > z",
        ),
        {"ran": {"j": 0, "z": 0}, "skipped": []},
    ),
    draft(
        "joins.any.untaken",
        "one-is-enough",
        flow(
            [const("a", 1), const("b", 2), echo("j", join="any"), echo("z")],
            "a > j {result.output > 5}",
            "b > j > z",
        ),
        {"ran": {"j": 1, "z": 1}, "outputs": {"z": 2}},
    ),
    draft(
        "joins.any.untaken",
        "a-failed-source",
        flow([fail("a"), slow("b", 80, 2), echo("j", join="any")], "a > j", "b > j"),
        {"status": "failed", "failed": ["a"], "ran": {"j": 1}, "outputs": {"j": 2}, "skipped": []},
    ),
)

_PLAIN = (
    draft(
        "joins.inputs.plain",
        "text",
        flow([*_AB, concat("j", "!", inputs="a")], "s > a > j", "s > b > j"),
        {"outputs": {"j": "A!"}},
    ),
    draft(
        "joins.inputs.plain",
        "object",
        flow([*_AB, echo("j", inputs={"x": "b", "y": "s"})], "s > a > j", "s > b > j"),
        {"outputs": {"j": {"x": "B", "y": 1}}},
    ),
    draft(
        "joins.inputs.plain",
        "any-join",
        flow([const("s", 1), echo("a"), concat("j", "!", inputs="s", join="any")], "s > a | 99", "a > j"),
        {"outputs": {"a": 99, "j": "1!"}},
    ),
    draft(
        "joins.inputs.plain",
        "context-key",
        flow([const("a", "A"), concat("j", "!", inputs="given")], "a > j"),
        {"outputs": {"j": "G!"}},
        context={"given": "G"},
    ),
)

_TRANSFORM = (
    draft(
        "joins.inputs.transform",
        "last-of-two",
        flow(
            [const("a", 2), const("b", 3), echo("j", inputs={"x": "a"})],
            "b > j | input * 10",
            "a > j | input * 100",
        ),
        {"outputs": {"j": 200}},
    ),
    draft(
        "joins.inputs.transform",
        "a-plain-edge-after-it",
        flow(
            [const("a", 2), const("b", 3), echo("j", inputs={"x": "a"})],
            "a > j | input * 10",
            "b > j",
        ),
        {"outputs": {"j": 20}},
    ),
    draft(
        "joins.inputs.transform",
        "not-taken",
        flow(
            [const("a", 2), const("b", 3), echo("j", inputs={"x": "a"})],
            "a > j",
            "b > j",
            "b > j {result.output > 5} | input * 10",
        ),
        {"outputs": {"j": {"x": 2}}},
    ),
    draft(
        "joins.inputs.transform",
        "undefined-value",
        flow([const("a", {"n": 1}), echo("j", inputs={"x": "a"})], "a > j | input.nothing"),
        {"outputs": {"j": None}},
    ),
    draft(
        "joins.inputs.transform",
        "any-join-fired-by-it",
        flow(
            [const("s", 3), echo("b"), echo("j", inputs={"x": "s"}, join="any")],
            "s > j | input + 10",
            "s > b > j",
        ),
        {"outputs": {"j": 13}},
    ),
    draft(
        "joins.inputs.transform",
        "any-join-fired-by-a-plain-edge",
        flow(
            [const("s", 3), echo("b"), echo("j", inputs={"x": "s"}, join="any"), echo("z")],
            "s > j > z",
            "s > b > j | input + 10",
        ),
        {"outputs": {"j": {"x": 3}, "z": {"x": 3}}},
    ),
)

_FALLBACK_VALUE = (
    draft(
        "joins.all.value",
        "inherited-edge-keeps-its-place",
        flow(
            [fail("f", fallback="fb"), const("fb", "FB"), const("b", "B"), concat("j", "!")],
            "b > j",
            "f > j",
        ),
        {"outputs": {"j": "FB!", "f": None}, "failed": ["f"]},
    ),
    draft(
        "joins.all.value",
        "inherited-edge-before-another",
        flow(
            [fail("f", fallback="fb"), slow("fb", 100, "FB"), const("b", "B"), concat("j", "!"), echo("q")],
            "f > j",
            "b > j",
            "b > q {result.output === 1}",
        ),
        {"outputs": {"j": "B!", "q": ABSENT}, "failed": ["f"]},
    ),
)

DRAFTS: tuple[Draft, ...] = (
    *_ALL,
    *_DISTINCT,
    *_UNTAKEN,
    *_SKIPPED,
    *_VALUE,
    *_FALLBACK_VALUE,
    *_ANY,
    *_ANY_VALUE,
    *_ONE_COMMIT,
    *_ANY_UNTAKEN,
    *_PLAIN,
    *_TRANSFORM,
)
