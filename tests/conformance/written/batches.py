"""Batches: scatter, workers, gather."""

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
    pick,
    put,
    route,
    slow,
    sub,
)

RULES = (
    Rule("batch.order", "The gather has all results in item order.", "Results come in the order in which workers end."),
    Rule(
        "batch.chunks",
        "Chunks run one after another; the gather ends once, with all results.",
        "Only one chunk is gathered (B2).",
    ),
    Rule("batch.executions", "Scatter and gather each count one execution.", "Each chunk counts as an execution."),
    Rule("batch.output-key", "The results go to `outputKey`, by default the gather's id.", "The key is not set."),
    Rule("batch.empty", "An empty list gathers [].", "The gather never starts, or a worker runs."),
    Rule(
        "batch.input",
        "The input must be a list; nothing counts as an empty one.",
        "A text is taken for a list of characters.",
    ),
    Rule(
        "batch.worker-fails",
        "A failed worker skips the gather and the run fails.",
        "The gather runs with what there is.",
    ),
    Rule(
        "batch.worker-fails.chunks",
        "After a failed worker the chunk in progress ends and later chunks do not start.",
        "The rest of the chunk is dropped, or all chunks run.",
    ),
    Rule(
        "batch.scatter-output",
        "A scatter's output `{gatherNodeId, hasMore: false}` and its edges are committed when it opens.",
        "They are committed when all items ended; a failed worker takes them back.",
    ),
    Rule("batch.joins", "The gather also waits for its other sources.", "It starts when the items ended."),
    Rule(
        "batch.loop",
        "A batch in a loop runs once per iteration.",
        "Workers or results of an earlier iteration are used again.",
    ),
    Rule(
        "batch.fallback",
        "A scatter that fails may have a fallback, which inherits the edge to the gather.",
        "The gather hangs.",
    ),
)

_PATH = "src > b_scatter > b_gather > after"


def _list(value: object) -> dict[str, object]:
    return put("src", "items", value)


DRAFTS: tuple[Draft, ...] = (
    draft(
        "batch.order",
        "squares",
        flow([_list([5, 3, 9, 1]), *batch("b", "square", "items"), pick("after", "b_out")], _PATH),
        {"outputs": {"b_gather": [25, 9, 81, 1], "after": [25, 9, 81, 1]}, "workers": 4},
    ),
    draft(
        "batch.order",
        "items-of-all-kinds",
        flow([_list([{"a": 1}, None, "x", [1], False]), *batch("b", "echo", "items"), echo("after")], _PATH),
        {"outputs": {"after": [{"a": 1}, None, "x", [1], False]}, "workers": 5},
    ),
    draft(
        "batch.order",
        "from-a-node-output",
        flow([const("src", {"l": [1, 2, 3]}), *batch("b", "add", "src.l"), echo("after")], _PATH),
        {"outputs": {"after": [2, 3, 4]}, "workers": 3},
    ),
    draft(
        "batch.order",
        "equal-items",
        flow([_list([2, 2, 2]), *batch("b", "square", "items"), echo("after")], _PATH),
        {"outputs": {"after": [4, 4, 4]}, "workers": 3},
    ),
    draft(
        "batch.chunks",
        "last-one-is-short",
        flow([_list([1, 2, 3, 4, 5]), *batch("b", "square", "items", chunkSize=2), echo("after")], _PATH),
        {"outputs": {"after": [1, 4, 9, 16, 25]}, "workers": 5},
    ),
    draft(
        "batch.chunks",
        "of-one",
        flow([_list([1, 2, 3]), *batch("b", "square", "items", chunkSize=1), echo("after")], _PATH),
        {"outputs": {"after": [1, 4, 9]}, "workers": 3},
    ),
    draft(
        "batch.chunks",
        "larger-than-the-list",
        flow([_list([1, 2, 3]), *batch("b", "square", "items", chunkSize=100), echo("after")], _PATH),
        {"outputs": {"after": [1, 4, 9]}, "workers": 3},
    ),
    draft(
        "batch.chunks",
        "many",
        flow([_list(list(range(23))), *batch("b", "add", "items", chunkSize=4), echo("after")], _PATH),
        {"outputs": {"after": list(range(1, 24))}, "workers": 23},
    ),
    draft(
        "batch.executions",
        "one-chunk",
        flow([_list([1, 2, 3]), *batch("b", "square", "items"), echo("after")], _PATH),
        {"ran": {"b_scatter": 1, "b_gather": 1, "after": 1}},
    ),
    draft(
        "batch.executions",
        "chunks",
        flow([_list([1, 2, 3]), *batch("b", "square", "items", chunkSize=1), counter("after", "n")], _PATH),
        {"ran": {"b_scatter": 1, "b_gather": 1, "after": 1}, "context": {"n": 1}},
    ),
    draft(
        "batch.executions",
        "two-batches-in-a-row",
        flow(
            [
                _list([1, 2, 3]),
                *batch("b", "square", "items"),
                *batch("d", "add", "b_gather", chunkSize=2),
                echo("after"),
            ],
            "src > b_scatter > b_gather > d_scatter > d_gather > after",
        ),
        {"ran": {"b_scatter": 1, "d_scatter": 1, "d_gather": 1}, "outputs": {"after": [2, 5, 10]}, "workers": 6},
    ),
    draft(
        "batch.executions",
        "two-batches-side-by-side",
        flow(
            [
                _list([1, 2]),
                *batch("b", "square", "items"),
                *batch("d", "add", "items"),
                collect("j", "b_gather", "d_gather"),
            ],
            "src > b_scatter > b_gather > j",
            "src > d_scatter > d_gather > j",
        ),
        {"ran": {"b_gather": 1, "d_gather": 1, "j": 1}, "outputs": {"j": [[1, 4], [2, 3]]}, "workers": 4},
    ),
    draft(
        "batch.output-key",
        "given",
        flow([_list([2]), *batch("b", "square", "items", output_key="squares"), pick("after", "squares")], _PATH),
        {"context": {"squares": [4]}, "outputs": {"after": [4]}},
    ),
    draft(
        "batch.output-key",
        "replaces-a-key",
        flow([_list([2]), *batch("b", "square", "items", output_key="items"), pick("after", "items")], _PATH),
        {"context": {"items": [4]}, "outputs": {"after": [4]}},
    ),
    draft(
        "batch.output-key",
        "default",
        flow([_list([2]), *batch("b", "square", "items", output_key=None), echo("after", inputs="b_gather")], _PATH),
        {"outputs": {"after": [4]}, "context": {"items": [2]}},
    ),
    draft(
        "batch.empty",
        "plain",
        flow([_list([]), *batch("b", "square", "items"), echo("after")], _PATH),
        {"outputs": {"b_gather": [], "after": []}, "workers": 0, "ran": {"b_gather": 1}},
    ),
    draft(
        "batch.empty",
        "with-chunks",
        flow([_list([]), *batch("b", "square", "items", chunkSize=3), echo("after")], _PATH),
        {"outputs": {"after": []}, "workers": 0, "context": {"b_out": []}},
    ),
    draft(
        "batch.empty",
        "worker-would-fail",
        flow([_list([]), *batch("b", "fail", "items"), echo("after")], _PATH),
        {"outputs": {"after": []}, "workers": 0},
    ),
    draft(
        "batch.input",
        "text",
        flow([_list("abc"), *batch("b", "echo", "items"), echo("after")], _PATH),
        {"status": "failed", "failed": ["b_scatter"], "workers": 0, "ran": {"b_gather": 0}, "skipped": []},
    ),
    draft(
        "batch.input",
        "object",
        flow([_list({"length": 2}), *batch("b", "echo", "items"), echo("after")], _PATH),
        {"status": "failed", "failed": ["b_scatter"], "workers": 0},
    ),
    draft(
        "batch.input",
        "nothing",
        flow(
            [_list(None), *batch("b", "echo", "items"), *batch("d", "echo", "nosuch"), echo("after")],
            _PATH,
            "src > d_scatter > d_gather",
        ),
        {"outputs": {"after": [], "d_gather": []}, "workers": 0},
    ),
    draft(
        "batch.worker-fails",
        "gather-is-skipped",
        flow([_list([1, 2]), *batch("b", "fail", "items"), echo("after")], _PATH),
        {"status": "failed", "failed": [], "workers": 2, "ran": {"b_gather": 0, "after": 0}, "skipped": ["b_gather"]},
    ),
    draft(
        "batch.worker-fails",
        "other-branches-go-on",
        flow(
            [_list([1, 2]), *batch("b", "fatal", "items"), echo("after"), slow("other", 60, 1), add("z")],
            _PATH,
            "src > other > z",
        ),
        {"status": "failed", "failed": [], "workers": 2, "outputs": {"z": 2}},
    ),
    draft(
        "batch.worker-fails",
        "no-fallback-of-the-scatter",
        flow([_list([1, 2]), *batch("b", "fail", "items", fallback="fb"), const("fb", [0]), echo("after")], _PATH),
        {"status": "failed", "failed": [], "workers": 2, "ran": {"fb": 0, "b_gather": 0}},
    ),
    draft(
        "batch.worker-fails.chunks",
        "first-chunk",
        flow([_list([1, 2, 3, 4, 5]), *batch("b", "fail", "items", chunkSize=2), echo("after")], _PATH),
        {"status": "failed", "failed": [], "workers": 2},
    ),
    draft(
        "batch.worker-fails.chunks",
        "chunks-of-one",
        flow([_list([1, 2, 3]), *batch("b", "fail", "items", chunkSize=1), echo("after")], _PATH),
        {"status": "failed", "failed": [], "workers": 1},
    ),
    draft(
        "batch.worker-fails.chunks",
        "whole-list",
        flow([_list([1, 2, 3]), *batch("b", "fail", "items", chunkSize=9), echo("after")], _PATH),
        {"status": "failed", "failed": [], "workers": 3},
    ),
    draft(
        "batch.scatter-output",
        "value",
        flow(
            [_list([1]), *batch("b", "square", "items", chunkSize=1), echo("after"), echo("beside")],
            _PATH,
            "b_scatter > beside",
        ),
        {
            "outputs": {
                "b_scatter": {"gatherNodeId": "b_gather", "hasMore": False},
                "beside": {"gatherNodeId": "b_gather", "hasMore": False},
            }
        },
    ),
    draft(
        "batch.scatter-output",
        "kept-when-a-worker-fails",
        flow(
            [_list([1]), *batch("b", "fail", "items"), echo("beside")],
            "src > b_scatter > b_gather",
            "b_scatter > beside",
        ),
        {
            "status": "failed",
            "failed": [],
            "ran": {"beside": 1},
            "outputs": {"b_scatter": {"gatherNodeId": "b_gather", "hasMore": False}},
        },
    ),
    draft(
        "batch.scatter-output",
        "condition-on-it",
        flow(
            [_list([1]), *batch("b", "square", "items"), echo("x"), echo("y")],
            "src > b_scatter > b_gather",
            "b_scatter > x {result.output.hasMore}",
            "b_scatter > y {!result.output.hasMore}",
        ),
        {"ran": {"x": 0, "y": 1, "b_gather": 1}},
    ),
    draft(
        "batch.joins",
        "slow-source",
        flow(
            [
                _list([1, 2]),
                *batch("b", "square", "items"),
                slow("other", 100, 7),
                collect("after", "b_gather", "other"),
            ],
            _PATH,
            "src > other > b_gather",
        ),
        {"ran": {"b_gather": 1}, "outputs": {"after": [[1, 4], 7]}},
    ),
    draft(
        "batch.joins",
        "untaken-source",
        flow(
            [_list([1, 2]), *batch("b", "square", "items"), route("r", "no"), echo("after")],
            _PATH,
            "r > b_gather [yes]",
        ),
        {"ran": {"b_gather": 0, "after": 0}, "workers": 2, "skipped": ["b_gather"]},
    ),
    draft(
        "batch.joins",
        "waits-for-a-wait",
        flow(
            [_list([1, 2]), *batch("b", "square", "items"), node("w", "wait"), echo("after")],
            _PATH,
            "w > b_gather",
        ),
        {"first": "awaiting", "ran": {"b_gather": 1}, "outputs": {"after": [1, 4]}, "workers": 2},
        resume=[{"node": "w", "output": 1}],
    ),
    draft(
        "batch.loop",
        "same-list",
        flow(
            [
                put("src", "items", [1, 2]),
                put("init", "c", 0),
                loop("lp", "c < 3"),
                counter("step", "c"),
                *batch("b", "square", "items"),
                pick("end", "b_out"),
            ],
            "src > init > lp",
            "lp > step [continue]",
            "step > b_scatter > b_gather > lp",
            "lp > end [break]",
        ),
        {"ran": {"b_scatter": 3, "b_gather": 3, "lp": 4}, "outputs": {"end": [1, 4]}, "workers": 6},
    ),
    draft(
        "batch.loop",
        "grows-from-its-own-result",
        flow(
            [
                put("src", "items", [2]),
                put("init", "c", 0),
                loop("lp", "c < 3"),
                counter("step", "c"),
                *batch("b", "square", "items", output_key="items"),
                pick("end", "items"),
            ],
            "src > init > lp",
            "lp > step [continue]",
            "step > b_scatter > b_gather > lp",
            "lp > end [break]",
        ),
        {"outputs": {"end": [256], "b_gather": [256]}, "workers": 3},
    ),
    draft(
        "batch.loop",
        "chunks-in-a-loop",
        flow(
            [
                put("src", "items", [1, 2, 3]),
                put("init", "c", 0),
                loop("lp", "c < 2"),
                counter("step", "c"),
                *batch("b", "add", "items", chunkSize=2, output_key="items"),
                pick("end", "items"),
            ],
            "src > init > lp",
            "lp > step [continue]",
            "step > b_scatter > b_gather > lp",
            "lp > end [break]",
        ),
        {"outputs": {"end": [3, 4, 5]}, "ran": {"b_scatter": 2, "b_gather": 2}, "workers": 6},
    ),
    draft(
        "batch.loop",
        "worker-fails-in-it",
        flow(
            [
                put("src", "items", [1, 2]),
                put("init", "c", 0),
                loop("lp", "c < 3"),
                counter("step", "c"),
                *batch("b", "fail", "items"),
                pick("end", "c"),
            ],
            "src > init > lp",
            "lp > step [continue]",
            "step > b_scatter > b_gather > lp",
            "lp > end [break]",
        ),
        {"status": "failed", "failed": [], "ran": {"lp": 1, "b_scatter": 1, "end": 0}, "workers": 2},
    ),
    draft(
        "batch.fallback",
        "bad-list",
        flow([_list("abc"), *batch("b", "square", "items", fallback="fb"), const("fb", [0]), echo("after")], _PATH),
        {"failed": ["b_scatter"], "outputs": {"b_scatter": None, "fb": [0], "b_gather": [], "after": []}, "workers": 0},
    ),
    draft(
        "batch.fallback",
        "its-input",
        flow([_list("abc"), *batch("b", "square", "items", fallback="fb"), echo("fb"), echo("after")], _PATH),
        {"failed": ["b_scatter"], "outputs": {"fb": "abc", "b_gather": []}, "context": {"b_out": []}},
    ),
    draft(
        "batch.fallback",
        "batch-as-a-fallback",
        flow(
            [_list([3, 4]), fail("f", fallback="b_scatter"), *batch("b", "square", "items"), echo("after"), echo("z")],
            "src > f > z",
            "b_scatter > b_gather > after",
        ),
        {
            "failed": ["f"],
            "outputs": {"after": [9, 16], "z": {"gatherNodeId": "b_gather", "hasMore": False}, "f": None},
            "workers": 2,
        },
    ),
    draft(
        "batch.order",
        "in-a-child",
        flow([sub("sf", "in", map_outputs={"r": "b_gather"}), pick("z", "r")], "sf > z"),
        {"outputs": {"z": [1, 4], "sf": {"r": [1, 4]}}, "context": {"r": [1, 4], "items": ABSENT}},
        subs={"in": flow([_list([1, 2]), *batch("b", "square", "items"), echo("after")], _PATH)},
    ),
)
