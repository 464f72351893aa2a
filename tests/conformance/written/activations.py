"""Activations: iterations, loop bodies, controllers, reads by name."""

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
        "activations.iteration",
        "An activation's key is the node id plus the iteration numbers of all loops that enclose it.",
        "Body nodes run once, or keep the state of an earlier iteration.",
    ),
    Rule(
        "activations.body.continue",
        "The body of a loop is what its `continue` edges reach.",
        "Only the path back to the controller is taken for the body.",
    ),
    Rule(
        "activations.body.exit",
        "... less what its other edges reach.",
        "A node behind the loop that the body reaches too runs once per iteration.",
    ),
    Rule(
        "activations.body.dominator",
        "... without passing the controller or one that dominates it.",
        "An inner loop swallows the rest of the outer loop.",
    ),
    Rule(
        "activations.body.fallback",
        "A `fallback` reference counts as an edge.",
        "Nodes behind a fallback are thought to be outside the loop.",
    ),
    Rule(
        "activations.entry",
        "Entering a loop is iteration 0, the way back to the controller is +1.",
        "A loop that is entered anew goes on counting, or is thought to be done.",
    ),
    Rule(
        "activations.outside.all",
        "An edge into the body from outside counts in every iteration.",
        "It counts in iteration 0 only; later joins never fire.",
    ),
    Rule(
        "activations.outside.any",
        "For an `any` join it counts only in iterations that were entered by `continue`.",
        "The join fires in an iteration that never happens, or only once.",
    ),
    Rule(
        "activations.controller.any",
        "A controller is always an `any` join.",
        "`joinStrategy` of a controller is followed; it waits for its own body.",
    ),
    Rule(
        "activations.controller.once",
        "A controller runs once per iteration.",
        "Two ways back in one iteration start two iterations.",
    ),
    Rule(
        "activations.nested", "Nested loops work.", "Iterations of the inner loop are not told apart by the outer one."
    ),
    Rule("activations.sequence", "Loops may follow each other.", "Bodies of loops in a row are mixed up."),
    Rule(
        "activations.outputs",
        "`_outputs.<id>` is that of the highest iteration, outermost loop first.",
        "The last commit, or the highest inner number, wins.",
    ),
    Rule(
        "activations.reads",
        "Reads by name see what is committed when the node starts; only edges order them.",
        "A read by name waits for the other node, or sees something that is not committed.",
    ),
    Rule(
        "activations.cycle",
        "In a cycle without a controller each node runs at most once.",
        "The cycle never ends, or its entry point is not found.",
    ),
)

_LOOP = ("init > lp", "lp > step [continue]", "lp > end [break]")


def _counting(limit: int, **rest: object) -> list[dict[str, object]]:
    return [put("init", "c", 0), loop("lp", f"c < {limit}", **rest), counter("step", "c"), pick("end", "c")]


_NESTED = [
    put("init", "i", 0),
    loop("outer", "i < 2"),
    counter("incI", "i"),
    put("initJ", "j", 0),
    loop("inner", "j < 3"),
    counter("incJ", "j"),
]
_NESTED_EDGES = (
    "init > outer",
    "outer > incI [continue]",
    "incI > initJ > inner",
    "inner > incJ [continue]",
    "outer > end [break]",
)

_ITERATION = (
    draft(
        "activations.iteration",
        "chain",
        flow([*_counting(3), echo("x")], *_LOOP, "step > x > lp"),
        {"ran": {"lp": 4, "step": 3, "x": 3, "end": 1}, "outputs": {"x": 3, "end": 3, "lp": None}},
    ),
    draft(
        "activations.iteration",
        "join-in-body",
        flow(
            [*_counting(3), add("a", 10), add("b", 20), collect("j", "a", "b")],
            *_LOOP,
            "step > a > j",
            "step > b > j",
            "j > lp",
        ),
        {"ran": {"j": 3, "a": 3, "b": 3, "lp": 4}, "outputs": {"j": [13, 23]}},
    ),
    draft(
        "activations.iteration",
        "side-branch",
        flow([*_counting(3), add("side", 10)], *_LOOP, "step > lp", "step > side"),
        {"ran": {"side": 3, "lp": 4, "end": 1}, "outputs": {"side": 13}},
    ),
)

_CONTINUE = (
    draft(
        "activations.body.continue",
        "leaves-without-return",
        flow([*_counting(3), add("out"), add("tail")], *_LOOP, "step > lp", "step > out > tail"),
        {"ran": {"out": 3, "tail": 3}, "outputs": {"out": 4, "tail": 5}},
    ),
    draft(
        "activations.body.continue",
        "two-continue-edges",
        flow(
            [
                put("init", "c", 0),
                loop("lp", "c < 2"),
                const("x", 1),
                const("y", 2),
                counter("j", "c"),
                pick("end", "c"),
            ],
            "init > lp",
            "lp > x [continue]",
            "lp > y [continue]",
            "lp > end [break]",
            "x > j",
            "y > j",
            "j > lp",
        ),
        {"ran": {"x": 2, "y": 2, "j": 2, "lp": 3, "end": 1}, "outputs": {"end": 2}},
    ),
    draft(
        "activations.body.continue",
        "conditional-side",
        flow(
            [*_counting(4), echo("even"), concat("log", "!")],
            *_LOOP,
            "step > lp",
            "step > even {c % 2 === 0}",
            "even > log",
        ),
        {"ran": {"even": 2, "log": 2, "step": 4}, "outputs": {"even": 4, "log": "4!"}},
    ),
)

_EXIT = (
    draft(
        "activations.body.exit",
        "early-exit",
        flow(
            [put("init", "c", 0), loop("lp", "c < 5"), counter("step", "c"), echo("end", join="any")],
            *_LOOP,
            "step > lp {c < 2}",
            "step > end {c === 2}",
        ),
        {"ran": {"lp": 2, "step": 2, "end": 1}, "outputs": {"end": 2}},
    ),
    draft(
        "activations.body.exit",
        "first-iteration-leaves",
        flow(
            [put("init", "c", 0), loop("lp", "c < 3"), counter("step", "c"), echo("end", join="any"), add("z", 10)],
            *_LOOP,
            "step > lp",
            "step > end > z",
        ),
        {"ran": {"lp": 4, "step": 3, "end": 1, "z": 1}, "outputs": {"end": 1, "z": 11}},
    ),
    draft(
        "activations.body.exit",
        "all-join-behind",
        flow(
            [put("init", "c", 0), loop("lp", "c < 3"), counter("step", "c"), echo("end")],
            *_LOOP,
            "step > lp",
            "step > end",
        ),
        {"ran": {"lp": 4, "step": 3, "end": 1}, "outputs": {"end": 3}},
    ),
    draft(
        "activations.body.exit",
        "exit-by-way-of-another-node",
        flow(
            [*_counting(5)[:3], concat("stop", "!"), echo("after", join="any"), const("done", "done")],
            "init > lp",
            "lp > step [continue]",
            "lp > done [break]",
            "done > after",
            "step > lp {c < 3}",
            "step > stop {c === 3}",
            "stop > after",
        ),
        {"ran": {"lp": 3, "step": 3, "stop": 1, "after": 1, "done": 0}, "outputs": {"after": "3!"}},
    ),
)

_DOMINATOR = (
    draft(
        "activations.body.dominator",
        "next-outer-iteration-from-inside",
        flow(
            [*_NESTED, pick("end", "i")],
            *_NESTED_EDGES,
            "incJ > inner {j < 2}",
            "incJ > outer {j >= 2}",
            "inner > outer [break]",
        ),
        {"ran": {"outer": 3, "incI": 2, "inner": 4, "incJ": 4, "end": 1}, "outputs": {"end": 2, "incJ": 2}},
    ),
    draft(
        "activations.body.dominator",
        "rest-of-the-outer-body",
        flow(
            [*_NESTED, counter("rest", "r"), pick("end", "r")],
            *_NESTED_EDGES,
            "incJ > inner",
            "inner > rest [break]",
            "rest > outer",
        ),
        {"ran": {"outer": 3, "inner": 8, "incJ": 6, "rest": 2, "end": 1}, "outputs": {"end": 2}},
    ),
    draft(
        "activations.body.dominator",
        "inner-break-does-not-lead-back",
        flow(
            [*_NESTED, echo("side"), pick("end", "i")],
            *_NESTED_EDGES,
            "incJ > inner {j < 2}",
            "incJ > outer {j >= 2}",
            "inner > side [break]",
        ),
        {"ran": {"outer": 3, "incI": 2, "initJ": 2, "inner": 4, "incJ": 4, "side": 0, "end": 1}, "outputs": {"end": 2}},
    ),
    draft(
        "activations.body.dominator",
        "behind-both-loops",
        flow(
            [*_NESTED, echo("end", join="any"), add("z", 10)],
            *_NESTED_EDGES,
            "incJ > inner",
            "incJ > end > z",
            "inner > outer [break]",
        ),
        {"ran": {"outer": 3, "inner": 8, "incJ": 6, "end": 1, "z": 1}, "outputs": {"end": 1, "z": 11}},
    ),
    draft(
        "activations.body.dominator",
        "leaves-both-loops",
        flow(
            [*_NESTED, echo("end", join="any")],
            *_NESTED_EDGES,
            "incJ > inner {i < 2}",
            "incJ > end {i === 2}",
            "inner > outer [break]",
        ),
        {"ran": {"outer": 2, "inner": 5, "incJ": 4, "end": 1}, "outputs": {"end": 1}, "context": {"i": 2, "j": 1}},
    ),
)

_FALLBACK = (
    draft(
        "activations.body.fallback",
        "own-successor",
        flow(
            [*_counting(2), fail("f", fallback="fb"), const("fb", 7), counter("x", "n")],
            *_LOOP,
            "step > f > lp",
            "fb > x",
        ),
        {"ran": {"f": 2, "fb": 2, "x": 2, "lp": 3}, "context": {"n": 2}, "failed": ["f"]},
    ),
    draft(
        "activations.body.fallback",
        "only-way-back",
        flow(
            [*_counting(3), fail("f", fallback="fb"), const("fb", 7)],
            *_LOOP,
            "step > f",
            "fb > lp",
        ),
        {"ran": {"f": 3, "fb": 3, "lp": 4, "end": 1}, "failed": ["f"]},
    ),
    draft(
        "activations.body.fallback",
        "chain-is-the-only-way-back",
        flow(
            [*_counting(2), fail("f", fallback="g"), fail("g", fallback="h"), const("h", 7)],
            *_LOOP,
            "step > f",
            "h > lp",
        ),
        {"ran": {"f": 2, "g": 2, "h": 2, "lp": 3, "end": 1}, "failed": ["f", "g"]},
    ),
)

_ENTRY = (
    draft(
        "activations.entry",
        "not-entered",
        flow(_counting(0), *_LOOP, "step > lp"),
        {"ran": {"lp": 1, "step": 0, "end": 1}, "outputs": {"lp": None, "end": 0}},
    ),
    draft(
        "activations.entry",
        "inner-starts-anew",
        flow([*_NESTED, pick("end", "j")], *_NESTED_EDGES, "incJ > inner", "inner > outer [break]"),
        {"ran": {"inner": 8, "incJ": 6, "initJ": 2}, "outputs": {"end": 3}},
    ),
    draft(
        "activations.entry",
        "branch-without-the-loop",
        flow(
            [route("r", "skip"), *_counting(3), const("z", "z")],
            "r > init [loop]",
            "r > z [skip]",
            *_LOOP,
            "step > lp",
        ),
        {"ran": {"init": 0, "lp": 0, "step": 0, "end": 0, "z": 1}, "skipped": []},
    ),
)

_OUTSIDE_ALL = (
    draft(
        "activations.outside.all",
        "one-loop",
        flow(
            [*_counting(3), const("base", "B"), collect("j", "base", "step")],
            "init > base > lp",
            *_LOOP[1:],
            "base > j",
            "step > j > lp",
        ),
        {"ran": {"j": 3, "base": 1, "lp": 4}, "outputs": {"j": ["B", 3]}},
    ),
    draft(
        "activations.outside.all",
        "late",
        flow(
            [*_counting(2), slow("base", 120, "B"), echo("j")],
            *_LOOP,
            "init > base",
            "step > j > lp",
            "base > j",
        ),
        {"ran": {"j": 2, "base": 1, "lp": 3}, "outputs": {"j": "B"}},
    ),
    draft(
        "activations.outside.all",
        "into-the-inner-loop",
        flow(
            [*_NESTED, const("base", "B"), concat("merge", "!"), pick("end", "i")],
            *_NESTED_EDGES,
            "init > base",
            "incJ > merge > inner",
            "base > merge",
            "inner > outer [break]",
        ),
        {"ran": {"base": 1, "merge": 6, "inner": 8}, "outputs": {"merge": "B!"}},
    ),
    draft(
        "activations.outside.all",
        "from-the-outer-body",
        flow(
            [*_NESTED, concat("merge", "!"), pick("end", "i")],
            *_NESTED_EDGES,
            "incJ > merge > inner",
            "incI > merge",
            "inner > outer [break]",
        ),
        {"ran": {"merge": 6, "incI": 2}, "outputs": {"merge": "2!"}},
    ),
)

_OUTSIDE_ANY = (
    draft(
        "activations.outside.any",
        "alone",
        flow(
            [
                const("base", "B"),
                loop("lp", "context.n === undefined || n < 2"),
                echo("step"),
                counter("m", "n", join="any"),
                pick("end", "n"),
            ],
            "base > lp",
            "base > m",
            "lp > step [continue]",
            "step > m {1 === 2}",
            "m > lp",
            "lp > end [break]",
        ),
        {"ran": {"lp": 3, "m": 2, "step": 2, "end": 1}, "outputs": {"end": 2}},
    ),
    draft(
        "activations.outside.any",
        "not-entered",
        flow(
            [*_counting(0), const("base", "B"), echo("m", join="any")],
            "init > base > lp",
            *_LOOP[1:],
            "base > m",
            "step > m > lp",
        ),
        {"ran": {"lp": 1, "m": 0, "step": 0, "end": 1}, "skipped": ["m"]},
    ),
    draft(
        "activations.outside.any",
        "first-in-every-iteration",
        flow(
            [*_counting(3), const("base", "B"), echo("m", join="any"), collect("j", "m")],
            "init > base > lp",
            *_LOOP[1:],
            "step > m",
            "base > m > j",
            "step > j > lp",
        ),
        {"ran": {"m": 3, "j": 3, "lp": 4}, "outputs": {"m": "B", "j": ["B"]}},
    ),
    draft(
        "activations.outside.any",
        "into-the-inner-loop",
        flow(
            [*_NESTED, const("base", "B"), echo("m", join="any"), echo("merge"), pick("end", "i")],
            "init > base > outer",
            *_NESTED_EDGES[1:],
            "base > m > merge",
            "incJ > m",
            "incJ > merge > inner",
            "inner > outer [break]",
        ),
        {"ran": {"m": 6, "merge": 6, "inner": 8, "outer": 3}, "outputs": {"m": "B"}},
    ),
)

_CONTROLLER = (
    draft(
        "activations.controller.any",
        "no-strategy",
        flow(_counting(2, join=None), *_LOOP, "step > lp"),
        {"ran": {"lp": 3, "step": 2, "end": 1}},
    ),
    draft(
        "activations.controller.any",
        "all-is-ignored",
        flow(_counting(2, join="all"), *_LOOP, "step > lp"),
        {"ran": {"lp": 3, "step": 2, "end": 1}},
    ),
    draft(
        "activations.controller.any",
        "one-of-two-entries",
        flow(
            [route("r", "a"), put("init", "c", 0), put("other", "c", 1), *_counting(2, join="all")[1:]],
            "r > init [a]",
            "r > other [b]",
            "other > lp",
            *_LOOP,
            "step > lp",
        ),
        {"ran": {"lp": 3, "step": 2, "other": 0}},
    ),
    draft(
        "activations.controller.once",
        "two-ways-back",
        flow([*_counting(3), echo("x"), echo("y")], *_LOOP, "step > x > lp", "step > y > lp"),
        {"ran": {"lp": 4, "step": 3, "x": 3, "y": 3, "end": 1}, "outputs": {"end": 3}},
    ),
    draft(
        "activations.controller.once",
        "two-entries",
        flow([*_counting(2), echo("a"), echo("b")], "init > a > lp", "init > b > lp", *_LOOP[1:], "step > lp"),
        {"ran": {"lp": 3, "step": 2, "end": 1}},
    ),
    draft(
        "activations.controller.once",
        "two-ways-to-the-outer-one",
        flow(
            [*_NESTED, echo("side"), pick("end", "i")],
            *_NESTED_EDGES,
            "incJ > inner",
            "inner > outer [break]",
            "inner > side [break]",
            "side > outer",
        ),
        {"ran": {"outer": 3, "inner": 8, "incI": 2, "side": 2, "end": 1}},
    ),
)

_DEEP = (
    draft(
        "activations.nested",
        "three-deep",
        flow(
            [
                put("a0", "a", 0),
                loop("la", "a < 2"),
                counter("a1", "a"),
                put("b0", "b", 0),
                loop("lb", "b < 2"),
                counter("b1", "b"),
                put("d0", "d", 0),
                loop("ld", "d < 2"),
                counter("d1", "d"),
                counter("all", "n"),
                pick("end", "n"),
            ],
            "a0 > la",
            "la > a1 [continue]",
            "a1 > b0 > lb",
            "lb > b1 [continue]",
            "b1 > d0 > ld",
            "ld > d1 [continue]",
            "d1 > all > ld",
            "ld > lb [break]",
            "lb > la [break]",
            "la > end [break]",
        ),
        {"ran": {"la": 3, "lb": 6, "ld": 12, "all": 8, "end": 1}, "outputs": {"end": 8}},
    ),
    draft(
        "activations.nested",
        "inner-length-differs",
        flow(
            [*_NESTED[:4], loop("inner", "j < i"), counter("incJ", "j"), counter("all", "n"), pick("end", "n")],
            *_NESTED_EDGES,
            "incJ > all > inner",
            "inner > outer [break]",
        ),
        {"ran": {"outer": 3, "inner": 5, "incJ": 3, "all": 3}, "outputs": {"end": 3}},
    ),
    draft(
        "activations.nested",
        "inner-never-entered",
        flow(
            [*_NESTED[:4], loop("inner", "j > 0"), counter("incJ", "j"), pick("end", "i")],
            *_NESTED_EDGES,
            "incJ > inner",
            "inner > outer [break]",
        ),
        {"ran": {"outer": 3, "inner": 2, "incJ": 0, "end": 1}},
    ),
    draft(
        "activations.nested",
        "join-after-the-inner-loop",
        flow(
            [*_NESTED, echo("side"), collect("merge", "incI", "incJ"), pick("end", "i")],
            *_NESTED_EDGES,
            "incI > side > merge",
            "incJ > inner",
            "inner > merge [break]",
            "merge > outer",
        ),
        {"ran": {"outer": 3, "inner": 8, "side": 2, "merge": 2, "end": 1}, "outputs": {"merge": [2, 3]}},
    ),
)

_SEQUENCE = (
    draft(
        "activations.sequence",
        "two",
        flow(
            [*_counting(2)[:3], put("mid", "d", 0), loop("l2", "d < 3"), counter("s2", "d"), pick("end", "d")],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "lp > mid [break]",
            "mid > l2",
            "l2 > s2 [continue]",
            "s2 > l2",
            "l2 > end [break]",
        ),
        {"ran": {"lp": 3, "step": 2, "l2": 4, "s2": 3, "mid": 1, "end": 1}, "outputs": {"end": 3}},
    ),
    draft(
        "activations.sequence",
        "controller-to-controller",
        flow(
            [*_counting(2)[:3], loop("l2", "c < 5"), counter("s2", "c"), pick("end", "c")],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "lp > l2 [break]",
            "l2 > s2 [continue]",
            "s2 > l2",
            "l2 > end [break]",
        ),
        {"ran": {"lp": 3, "step": 2, "l2": 4, "s2": 3, "end": 1}, "outputs": {"end": 5}},
    ),
    draft(
        "activations.sequence",
        "two-in-an-outer-loop",
        flow(
            [
                *_NESTED[:4],
                loop("l1", "j < 1"),
                counter("s1", "j"),
                loop("l2", "j < 3"),
                counter("s2", "j"),
                counter("n", "all"),
                pick("end", "all"),
            ],
            "init > outer",
            "outer > incI [continue]",
            "incI > initJ > l1",
            "l1 > s1 [continue]",
            "s1 > l1",
            "l1 > l2 [break]",
            "l2 > s2 [continue]",
            "s2 > l2",
            "l2 > n [break]",
            "n > outer",
            "outer > end [break]",
        ),
        {"ran": {"outer": 3, "l1": 4, "s1": 2, "l2": 6, "s2": 4, "n": 2, "end": 1}, "outputs": {"end": 2}},
    ),
)

_OUTPUTS = (
    draft(
        "activations.outputs",
        "outermost-first",
        flow(
            [*_NESTED[:4], loop("inner", "j < 3 - i"), counter("incJ", "j"), pick("end", "_outputs.incJ")],
            *_NESTED_EDGES,
            "incJ > inner",
            "inner > outer [break]",
        ),
        {"ran": {"incJ": 3, "inner": 5}, "outputs": {"incJ": 1, "end": 1}},
    ),
    draft(
        "activations.outputs",
        "ran-only-early",
        flow(
            [*_counting(3), concat("once", "!"), pick("look", "_outputs.once")],
            *_LOOP,
            "step > lp",
            "step > once {c === 1}",
            "end > look",
        ),
        {"ran": {"once": 1, "lp": 4}, "outputs": {"once": "1!"}},
    ),
    draft(
        "activations.outputs",
        "read-behind-the-loop",
        flow([*_counting(3), add("x", 10), collect("z", "x", "step")], *_LOOP, "step > x > lp", "end > z"),
        {"outputs": {"x": 13, "z": [13, 3]}},
    ),
)

_READS = (
    draft(
        "activations.reads",
        "sibling-that-waits",
        flow(
            [const("a", 1), {"id": "w", "uses": "wait"}, collect("look", "w", "a"), collect("late", "w")],
            "a > w > late",
            "a > look",
        ),
        {"first": "awaiting", "outputs": {"look": [None, 1], "late": ["hi"], "w": "hi"}},
        resume=[{"node": "w", "output": "hi"}],
    ),
    draft(
        "activations.reads",
        "previous-iteration",
        flow(
            [*_counting(3), pick("before", "_outputs.x"), add("x", 100, inputs="step"), concat("z", "")],
            "init > lp",
            "lp > before [continue]",
            "before > step > x > lp",
            "lp > end [break]",
            "before > z",
        ),
        {"ran": {"before": 3, "x": 3}, "outputs": {"before": 102, "x": 103, "z": "102"}},
    ),
    draft(
        "activations.reads",
        "never-ran",
        flow(
            [route("r", "l"), const("l", 1), const("q", 2), echo("z", inputs="q"), pick("y", "_outputs.q")],
            "r > l [l]",
            "r > q [q]",
            "l > z",
            "l > y",
        ),
        {"outputs": {"z": None, "y": None, "q": ABSENT}, "ran": {"z": 1, "y": 1}},
    ),
    draft(
        "activations.reads",
        "far-ancestor",
        flow(
            [const("a", {"n": 4}), echo("b"), const("c", 0), echo("d", inputs="a.n")],
            "a > b > c > d",
        ),
        {"outputs": {"d": 4}},
    ),
)

_CYCLE = (
    draft(
        "activations.cycle",
        "entered-by-an-any-join",
        flow([const("s", 1), add("a", join="any"), add("b")], "s > a > b > a"),
        {"ran": {"s": 1, "a": 1, "b": 1}, "outputs": {"a": 2, "b": 3}},
    ),
    draft(
        "activations.cycle",
        "nothing-but-a-cycle",
        flow([add("a"), add("b"), add("z")], "a > b > a", "b > z"),
        {"ran": {"a": 1, "b": 1, "z": 1}, "outputs": {"a": 1, "b": 2, "z": 3}},
    ),
    draft(
        "activations.cycle",
        "chosen-entry-point",
        flow([add("a"), add("b")], "a > b > a", entry_points=["b"]),
        {"ran": {"a": 1, "b": 1}, "outputs": {"a": 2, "b": 1}},
    ),
    draft(
        "activations.cycle",
        "all-join-waits-for-its-own-cycle",
        flow([const("s", 1), add("a"), add("b")], "s > a > b > a"),
        {"ran": {"s": 1, "a": 0, "b": 0}, "skipped": ["a"]},
    ),
)

DRAFTS: tuple[Draft, ...] = (
    *_ITERATION,
    *_CONTINUE,
    *_EXIT,
    *_DOMINATOR,
    *_FALLBACK,
    *_ENTRY,
    *_OUTSIDE_ALL,
    *_OUTSIDE_ANY,
    *_CONTROLLER,
    *_DEEP,
    *_SEQUENCE,
    *_OUTPUTS,
    *_READS,
    *_CYCLE,
)
