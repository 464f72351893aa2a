"""Routing: which edges are taken, and what they carry."""

from __future__ import annotations

from tests.conformance.drafting import (
    Blueprint,
    Draft,
    Rule,
    add,
    collect,
    concat,
    const,
    counter,
    draft,
    echo,
    flow,
    loop,
    node,
    pick,
    put,
    route,
)

RULES = (
    Rule(
        "routing.action.match",
        "Edges with the node's action are followed, and no others.",
        "Edges without an action are followed too.",
    ),
    Rule(
        "routing.action.unmatched",
        "When nothing matches an action and there is no edge without an action, the branch ends.",
        "All action edges are followed (B3), or the run fails or hangs.",
    ),
    Rule(
        "routing.action.default",
        "When nothing matches an action, only edges without an action are followed.",
        "Default edges are ignored, or other actions' edges are followed with them.",
    ),
    Rule(
        "routing.action.condition",
        "An edge with the action and a false condition does not match.",
        "The condition of an action edge is not tested; default edges are not followed instead.",
    ),
    Rule(
        "routing.action.none",
        "A node without an action follows only edges without one.",
        "Action edges are followed by nodes that choose none.",
    ),
    Rule("routing.all-matches", "All matching edges are followed.", "Only the first match is followed."),
    Rule(
        "routing.loop-condition",
        "A controller's edges with a condition come before its action.",
        "`continue` or `break` is followed although a condition holds.",
    ),
    Rule(
        "routing.own-writes",
        "Conditions and transforms see the context with the node's own writes and its output.",
        "They see the context before the node ran.",
    ),
    Rule(
        "routing.evaluated-once",
        "They are evaluated once, before the commit; what an edge carries is part of it.",
        "They are evaluated again when a join fires, on a later context.",
    ),
    Rule("routing.transform.value", "A transform's value is what the edge carries.", "The source's output is carried."),
    Rule(
        "routing.transform.repeated",
        "A transform never changes the blueprint.",
        "In the second iteration, or the second run of a child, the target reads stale values (B5).",
    ),
    Rule(
        "routing.transform.named-input",
        "If the target's `inputs` is the name of another node's output, that is the transform's `input`.",
        "The transform gets the output of the edge's source.",
    ),
    Rule(
        "routing.transform.empty",
        "An empty transform is one, and undefined; an empty action or condition is none.",
        "Empty texts are handled alike.",
    ),
    Rule(
        "routing.loop-inputs",
        'A transform `context["end"]` gives the body of a loop the output of its end node.',
        "The body and the nodes behind the loop get no input (B6).",
    ),
)


def _empty(field: str) -> Blueprint:
    blueprint = flow([const("a", {"n": 1}), echo("z")])
    blueprint["edges"] = [{"source": "a", "target": "z", field: ""}]
    return blueprint


_LOOP = [put("init", "c", 0), loop("lp", "c < 3"), counter("step", "c")]

DRAFTS: tuple[Draft, ...] = (
    draft(
        "routing.action.match",
        "one-of-three",
        flow([route("r", "b"), const("a", 1), const("b", 2), const("c", 3)], "r > a [a]", "r > b [b]", "r > c [c]"),
        {"ran": {"a": 0, "b": 1, "c": 0}},
    ),
    draft(
        "routing.action.match",
        "default-is-not-followed",
        flow([route("r", "b"), const("a", 1), const("b", 2)], "r > a", "r > b [b]"),
        {"ran": {"a": 0, "b": 1}},
    ),
    draft(
        "routing.action.match",
        "from-data",
        flow(
            [const("s", {"kind": {"name": "big"}}), node("r", "route", by="kind.name"), echo("a"), echo("b")],
            "s > r",
            "r > a [small]",
            "r > b [big]",
        ),
        {"ran": {"a": 0, "b": 1}, "outputs": {"b": {"kind": {"name": "big"}}}},
    ),
    draft(
        "routing.action.unmatched",
        "all-edges-have-actions",
        flow([route("r", "zzz"), echo("a"), echo("b"), echo("z")], "r > a [a]", "r > b [b]", "b > z"),
        {"ran": {"a": 0, "b": 0, "z": 0}, "skipped": []},
    ),
    draft(
        "routing.action.unmatched",
        "case-matters",
        flow([route("r", "Go"), echo("a"), const("other", 1)], "r > a [go]", "other > a"),
        {"ran": {"a": 0}, "skipped": ["a"]},
    ),
    draft(
        "routing.action.unmatched",
        "inside-a-loop",
        flow(
            [*_LOOP, route("r", "zzz"), echo("x"), pick("end", "c")],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "step > r",
            "r > x [x]",
            "lp > end [break]",
        ),
        {"ran": {"r": 3, "x": 0, "lp": 4, "end": 1}},
    ),
    draft(
        "routing.action.default",
        "one",
        flow([route("r", "zzz"), const("a", 1), const("d", 2)], "r > a [a]", "r > d"),
        {"ran": {"a": 0, "d": 1}},
    ),
    draft(
        "routing.action.default",
        "two-with-conditions",
        flow(
            [route("r", "zzz"), const("a", 1), const("d", 2), const("e", 3), const("f", 4)],
            "r > a [a]",
            "r > d",
            "r > e {result.action === 'zzz'}",
            "r > f {result.action === 'a'}",
        ),
        {"ran": {"a": 0, "d": 1, "e": 1, "f": 0}},
    ),
    draft(
        "routing.action.default",
        "before-the-action-edge",
        flow([route("r", "a"), const("a", 1), const("d", 2), const("e", 3)], "r > d", "r > a [a]", "r > e"),
        {"ran": {"a": 1, "d": 0, "e": 0}},
    ),
    draft(
        "routing.action.condition",
        "false-leads-to-default",
        flow([route("r", "go"), const("a", 1), const("d", 2)], "r > a [go] {1 === 2}", "r > d"),
        {"ran": {"a": 0, "d": 1}},
    ),
    draft(
        "routing.action.condition",
        "one-of-two-holds",
        flow(
            [route("r", "go"), const("a", 1), const("b", 1), const("d", 2)],
            "r > a [go] {1 === 2}",
            "r > b [go] {1 === 1}",
            "r > d",
        ),
        {"ran": {"a": 0, "b": 1, "d": 0}},
    ),
    draft(
        "routing.action.condition",
        "nothing-is-left",
        flow(
            [route("r", "go"), const("a", 1), const("b", 1)],
            "r > a [go] {nosuch}",
            "r > b [other] {1 === 1}",
        ),
        {"ran": {"a": 0, "b": 0}},
    ),
    draft(
        "routing.action.none",
        "one-edge-of-each",
        flow([const("c", 1), const("a", 1), const("d", 2)], "c > a [a]", "c > d"),
        {"ran": {"a": 0, "d": 1}},
    ),
    draft(
        "routing.action.none",
        "only-action-edges",
        flow([const("c", 1), const("a", 1), echo("z")], "c > a [a]", "a > z"),
        {"ran": {"a": 0, "z": 0}, "skipped": []},
    ),
    draft(
        "routing.action.none",
        "condition-does-not-help",
        flow([const("c", 1), const("a", 1), const("d", 2)], "c > a [a] {1 === 1}", "c > d {1 === 2}"),
        {"ran": {"a": 0, "d": 0}},
    ),
    draft(
        "routing.all-matches",
        "plain",
        flow([const("c", 1), add("x", 1), add("y", 2), add("z", 3)], "c > x", "c > y", "c > z"),
        {"outputs": {"x": 2, "y": 3, "z": 4}},
    ),
    draft(
        "routing.all-matches",
        "same-action",
        flow([route("r", "go"), const("x", 1), const("y", 2), const("z", 3)], "r > x [go]", "r > y [no]", "r > z [go]"),
        {"ran": {"x": 1, "y": 0, "z": 1}},
    ),
    draft(
        "routing.all-matches",
        "overlapping-conditions",
        flow(
            [const("c", 5), const("x", 1), const("y", 2), const("z", 3)],
            "c > x {c > 1}",
            "c > y {c > 2}",
            "c > z {c > 9}",
        ),
        {"ran": {"x": 1, "y": 1, "z": 0}},
    ),
    draft(
        "routing.loop-condition",
        "leaves-early",
        flow(
            [*_LOOP, const("special", "left"), const("end", "end")],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "lp > special {c === 2}",
            "lp > end [break]",
        ),
        {"ran": {"lp": 3, "step": 2, "special": 1, "end": 0}},
    ),
    draft(
        "routing.loop-condition",
        "instead-of-break",
        flow(
            [*_LOOP, const("special", "many"), const("end", "end")],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "lp > end [break]",
            "lp > special {c >= 3}",
        ),
        {"ran": {"lp": 4, "step": 3, "special": 1, "end": 0}},
    ),
    draft(
        "routing.loop-condition",
        "break-edge-while-it-says-continue",
        flow(
            [*_LOOP, const("a", 1), const("b", 2)],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "lp > a [break] {c === 2}",
            "lp > b [break]",
        ),
        {"ran": {"lp": 3, "step": 2, "a": 1, "b": 0}},
    ),
    draft(
        "routing.loop-condition",
        "continue-edge-while-it-says-break",
        flow(
            [*_LOOP, pick("end", "c")],
            "init > lp",
            "lp > step [continue] {c < 5}",
            "step > lp",
            "lp > end [break]",
        ),
        {"ran": {"lp": 6, "step": 5, "end": 1}, "outputs": {"end": 5}},
    ),
    draft(
        "routing.loop-condition",
        "conditional-break-edge",
        flow(
            [*_LOOP, const("a", 1), const("b", 2), const("d", 3)],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "lp > a [break] {c > 100}",
            "lp > b [break]",
            "lp > d",
        ),
        {"ran": {"lp": 4, "a": 0, "b": 1, "d": 0}},
    ),
    draft(
        "routing.own-writes",
        "key",
        flow([put("p", "k", 5), const("x", 1), const("y", 2)], "p > x {k === 5}", "p > y {context.k === undefined}"),
        {"ran": {"x": 1, "y": 0}},
    ),
    draft(
        "routing.own-writes",
        "replaced-key",
        flow([counter("p", "k"), echo("x"), echo("y")], "p > x {k === 8}", "p > y | context.k"),
        {"ran": {"x": 1}, "outputs": {"y": 8}},
        context={"k": 7},
    ),
    draft(
        "routing.own-writes",
        "own-output-by-name",
        flow([const("p", {"total": 9}), const("x", 1), const("y", 2)], "p > x {p.total > 8}", "p > y {p.total > 9}"),
        {"ran": {"x": 1, "y": 0}},
    ),
    draft(
        "routing.own-writes",
        "in-a-loop",
        flow(
            [*_LOOP, const("hit", 1), pick("end", "c")],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "step > hit {step === 2 && c === 2}",
            "lp > end [break]",
        ),
        {"ran": {"hit": 1, "step": 3}},
    ),
    draft(
        "routing.evaluated-once",
        "condition",
        flow(
            [put("a", "k", 1), put("b", "k", 2), collect("j", "a", "b")],
            "a > j {k === 1}",
            "a > b > j",
        ),
        {"ran": {"j": 1}, "context": {"k": 2}},
    ),
    draft(
        "routing.evaluated-once",
        "transform",
        flow([put("a", "k", 1), put("b", "k", 2), add("j", 10)], "a > b > j", "a > j | context.k"),
        {"outputs": {"j": 11}, "context": {"k": 2}},
    ),
    draft(
        "routing.evaluated-once",
        "across-a-wait",
        flow(
            [put("a", "k", 1), put("b", "k", 2), node("w", "wait"), add("j", 10)],
            "a > b > w > j",
            "a > j | context.k",
        ),
        {"first": "awaiting", "outputs": {"j": 11, "w": "x"}},
        resume=[{"node": "w", "output": "x"}],
    ),
    draft(
        "routing.transform.value",
        "path",
        flow([const("a", {"u": {"n": "Ann"}}), concat("z", "!")], "a > z | input.u.n"),
        {"outputs": {"z": "Ann!"}},
    ),
    draft(
        "routing.transform.value",
        "per-edge",
        flow([const("a", 5), echo("x"), echo("y"), echo("z")], "a > x | input + 1", "a > y | input * 2", "a > z"),
        {"outputs": {"x": 6, "y": 10, "z": 5}},
    ),
    draft(
        "routing.transform.value",
        "undefined",
        flow(
            [const("a", {"n": 1}), echo("x"), add("y", 3), concat("z", "!")], "a > x > y | input.q.r", "x > z | nosuch"
        ),
        {"outputs": {"x": {"n": 1}, "y": 3, "z": "!"}},
    ),
    draft(
        "routing.transform.repeated",
        "in-a-loop",
        flow(
            [*_LOOP, add("x", 0, inputs="init"), add("y", 0), pick("end", "c")],
            "init > lp",
            "lp > step [continue]",
            "step > x | context.c * 10",
            "x > y | input + 1",
            "y > lp",
            "lp > end [break]",
        ),
        {"outputs": {"x": 30, "y": 31}, "ran": {"x": 3, "y": 3}},
    ),
    draft(
        "routing.transform.repeated",
        "fan-in",
        flow([const("a", {"x": 4}), const("b", {"x": 5}), echo("j")], "a > j | input.x", "b > j | input.x"),
        {"outputs": {"j": 5}},
    ),
    draft(
        "routing.transform.repeated",
        "child-run-twice",
        flow(
            [const("a", 1), node("s1", "subflow", blueprintId="in"), node("s2", "subflow", blueprintId="in")],
            "a > s1 > s2",
        ),
        {"outputs": {"s1": 20, "s2": 210}},
        subs={"in": flow([add("x", 1), echo("y", inputs="x")], "x > y | input * 10")},
    ),
    draft(
        "routing.transform.named-input",
        "another-node",
        flow([const("s", {"d": 7}), const("m", {"d": 8}), echo("z", inputs="s")], "s > m > z | input.d"),
        {"outputs": {"z": 7}},
    ),
    draft(
        "routing.transform.named-input",
        "reserved-name",
        flow([const("s", {"d": 7}), const("m", {"d": 8}), echo("z", inputs="_outputs.s")], "s > m > z | input.d"),
        {"outputs": {"z": 7}},
    ),
    draft(
        "routing.transform.named-input",
        "not-for-a-context-key",
        flow([const("m", {"d": 8}), echo("z", inputs="given")], "m > z | input.d"),
        {"outputs": {"z": 8}},
        context={"given": {"d": 9}},
    ),
    draft(
        "routing.transform.named-input",
        "not-for-an-object",
        flow([const("s", {"d": 7}), const("m", {"d": 8}), echo("z", inputs={"q": "s"})], "s > m > z | input.d"),
        {"outputs": {"z": 8}},
    ),
    draft("routing.transform.empty", "action", _empty("action"), {"outputs": {"z": {"n": 1}}}),
    draft("routing.transform.empty", "condition", _empty("condition"), {"outputs": {"z": {"n": 1}}}),
    draft("routing.transform.empty", "transform", _empty("transform"), {"outputs": {"z": None}, "ran": {"z": 1}}),
    draft(
        "routing.loop-inputs",
        "body",
        flow(
            [put("init", "c", 0), loop("lp", "c < 3"), counter("step", "c"), concat("x", ";"), concat("end", "!")],
            "init > lp",
            'lp > end [break] | context["x"]',
            "step > x > lp",
            'lp > step [continue] | context["x"]',
        ),
        {"outputs": {"x": "3;", "end": "3;!"}},
    ),
    draft(
        "routing.loop-inputs",
        "grows",
        flow(
            [put("init", "c", 0), loop("lp", "c < 3"), concat("x", "x"), counter("step", "c"), echo("end")],
            "init > lp",
            'lp > end [break] | context["x"]',
            "x > step > lp",
            'lp > x [continue] | context["x"]',
        ),
        {"outputs": {"x": "xxx", "end": "xxx"}},
    ),
    draft(
        "routing.loop-inputs",
        "nothing-to-read-at-first",
        flow(
            [put("init", "c", 2), loop("lp", "c < 3"), concat("x", "x"), counter("step", "c"), echo("end")],
            "init > lp",
            'lp > end [break] | context["x"]',
            "x > step > lp",
            'lp > x [continue] | context["x"]',
        ),
        {"outputs": {"x": "x", "end": "x"}, "ran": {"lp": 2}},
    ),
)
