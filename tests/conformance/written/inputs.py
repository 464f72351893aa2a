"""Input resolution: what the `inputs` of a node mean."""

from __future__ import annotations

from tests.conformance.drafting import Draft, Rule, add, const, draft, echo, flow, pick, put, route

RULES = (
    Rule(
        "inputs.name",
        "`inputs` may be a name: a node's output, or else a context key.",
        "A context key beats a node's output; a node that has not run hides a context key.",
    ),
    Rule(
        "inputs.object",
        "`inputs` may be an object of names; an undefined member vanishes.",
        "Missing members turn into null, or the whole object is lost.",
    ),
    Rule(
        "inputs.path",
        "A name with dots walks into a node's output and never into a context key.",
        "A context object is walked into; list indexes do not work.",
    ),
    Rule(
        "inputs.reserved",
        "A name that starts with `_` is a context key as it stands.",
        "`_outputs.x` is looked up as the node `_outputs`.",
    ),
    Rule(
        "inputs.absent",
        "An absent or empty `inputs` gives what the edge carried; `{}` gives `{}`.",
        "An empty text is looked up; an empty object counts as absent.",
    ),
)

DRAFTS: tuple[Draft, ...] = (
    draft(
        "inputs.name",
        "output-before-context",
        flow([const("a", "output"), echo("z", inputs="a")], "a > z"),
        {"outputs": {"z": "output"}},
        context={"a": "key"},
    ),
    draft(
        "inputs.name",
        "key-of-a-node-that-did-not-run",
        flow([route("r", "no"), const("a", "output"), echo("z", inputs="a")], "r > a [yes]", "r > z"),
        {"outputs": {"z": "key"}},
        context={"a": "key"},
    ),
    draft(
        "inputs.name",
        "context-key",
        flow([const("a", 1), put("p", "k", "written"), echo("z", inputs="k")], "a > p > z"),
        {"outputs": {"z": "written"}, "context": {"k": "written"}},
    ),
    draft(
        "inputs.name",
        "start-node",
        flow([add("a", 5, inputs="given")]),
        {"outputs": {"a": 12}},
        context={"given": 7},
    ),
    draft(
        "inputs.name",
        "nothing-of-that-name",
        flow([const("a", 1), echo("z", inputs="nosuch")], "a > z"),
        {"outputs": {"z": None}},
    ),
    draft(
        "inputs.object",
        "mixed",
        flow(
            [const("a", {"n": 1}), echo("z", inputs={"x": "a.n", "y": "given", "o": "_outputs.a"})],
            "a > z",
        ),
        {"outputs": {"z": {"x": 1, "y": "G", "o": {"n": 1}}}},
        context={"given": "G"},
    ),
    draft(
        "inputs.object",
        "missing-members",
        flow([const("a", 1), echo("z", inputs={"x": "a", "y": "nosuch", "q": "a.b.c"})], "a > z"),
        {"outputs": {"z": {"x": 1}}},
    ),
    draft(
        "inputs.object",
        "null-members-stay",
        flow([const("a", None), echo("z", inputs={"x": "a", "y": "none"})], "a > z"),
        {"outputs": {"z": {"x": None, "y": None}}},
        context={"none": None},
    ),
    draft(
        "inputs.path",
        "into-lists",
        flow(
            [const("a", {"l": [5, {"m": 6}]}), echo("y", inputs="a.l.0"), echo("z", inputs="a.l.1.m")], "a > y", "a > z"
        ),
        {"outputs": {"y": 5, "z": 6}},
    ),
    draft(
        "inputs.path",
        "not-into-the-context",
        flow([const("a", 1), echo("z", inputs="given.n")], "a > z"),
        {"outputs": {"z": None}},
        context={"given": {"n": 1}},
    ),
    draft(
        "inputs.path",
        "leads-nowhere",
        flow(
            [const("a", {"n": None}), echo("x", inputs="a.n.m"), echo("y", inputs="a.q"), echo("z", inputs="a.n")],
            "a > x",
            "a > y",
            "a > z",
        ),
        {"outputs": {"x": None, "y": None, "z": None}, "status": "completed"},
    ),
    draft(
        "inputs.reserved",
        "output",
        flow([const("a", {"n": 1}), const("b", 2), echo("z", inputs="_outputs.a")], "a > b > z"),
        {"outputs": {"z": {"n": 1}}},
    ),
    draft(
        "inputs.reserved",
        "no-path",
        flow([const("a", {"n": 1}), echo("z", inputs="_outputs.a.n")], "a > z"),
        {"outputs": {"z": None}},
    ),
    draft(
        "inputs.reserved",
        "what-an-edge-carried",
        flow([const("a", 4), add("b", 1), echo("z", inputs="_inputs.b"), pick("y", "_inputs.b")], "a > b > z > y"),
        {"outputs": {"b": 5, "z": 4, "y": 4}},
    ),
    draft(
        "inputs.absent",
        "empty-text",
        flow([const("a", 4), echo("z", inputs="")], "a > z"),
        {"outputs": {"z": 4}},
    ),
    draft(
        "inputs.absent",
        "empty-object",
        flow([const("a", 4), echo("z", inputs={})], "a > z"),
        {"outputs": {"z": {}}},
    ),
    draft(
        "inputs.absent",
        "start-node-has-none",
        flow([echo("a"), add("b", 1), route("r", "x")], "a > b", "r > b [y]", "r > b [x]"),
        {"outputs": {"a": None, "b": 1}},
    ),
)
