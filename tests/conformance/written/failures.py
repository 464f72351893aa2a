"""Failures: branches, status, attempts, timeouts, writes of attempts."""

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
    flaky,
    flow,
    loop,
    node,
    pick,
    put,
    slow,
)

RULES = (
    Rule(
        "failure.branch", "A failure ends only its branch; others go on.", "The whole run stops at the first failure."
    ),
    Rule(
        "failure.status",
        "`failed` if any failure was not handled by the node's own fallback, else `completed`; the context is kept.",
        "Any fallback that ran hides other failures (B25); the context is lost (B29).",
    ),
    Rule(
        "failure.failed-nodes",
        "`failed_nodes` includes handled failures.",
        "Only the unhandled ones, or also nodes behind the failure, are listed.",
    ),
    Rule("failure.fatal", "A fatal error allows no retry and no fallback.", "It is retried, or its fallback runs."),
    Rule(
        "failure.retries",
        "`maxRetries` is the total of attempts.",
        "It is taken for the number of attempts after the first.",
    ),
    Rule(
        "failure.retries.per-start",
        "Attempts are counted anew for each activation.",
        "The attempt number goes on across iterations.",
    ),
    Rule("failure.retry-delay", "`retryDelay` ms between attempts.", "A delay loses the node or its later attempts."),
    Rule(
        "failure.retry-backoff",
        "... times `retryBackoff` (default 1) each time.",
        "The factor applies once, or never; 1 is not the default and the delays explode.",
    ),
    Rule(
        "failure.retry-max-delay",
        "... at most `retryMaxDelay`.",
        "A huge delay is not cut: the run sleeps on a durable timer.",
    ),
    Rule("failure.timeout", "`timeout` is ms per attempt of user code.", "It is ignored (B1)."),
    Rule(
        "failure.timeout.per-attempt",
        "... per *attempt*.",
        "Attempts share one budget; a timed-out attempt is not repeated; waiting counts as user code.",
    ),
    Rule(
        "failure.timeout.subflow",
        "For a sub-flow `timeout` covers the whole child, which is then cancelled.",
        "It covers single nodes of the child, or nothing.",
    ),
    Rule(
        "failure.writes.dropped",
        "What a failed attempt wrote is dropped.",
        "Writes go through at once; those of failed attempts stay.",
    ),
    Rule(
        "failure.writes.committed",
        "Writes are buffered and applied by the commit.",
        "Successors do not see them, or a failed node's writes are applied at its handled failure.",
    ),
)

_SLOW_CHILD = flow([slow("x", 150, "late"), echo("y")], "x > y")

DRAFTS: tuple[Draft, ...] = (
    draft(
        "failure.branch",
        "sibling-goes-on",
        flow(
            [const("s", 1), fail("f"), echo("f2"), add("a"), slow("b", 80, 2), echo("z")],
            "s > f > f2",
            "s > a > b > z",
        ),
        {"status": "failed", "failed": ["f"], "outputs": {"z": 2, "f": ABSENT}, "ran": {"f2": 0}},
    ),
    draft(
        "failure.branch",
        "start-node",
        flow([fail("f"), const("a", 1), echo("z")], "a > z"),
        {"status": "failed", "failed": ["f"], "outputs": {"z": 1}},
    ),
    draft(
        "failure.branch",
        "loop-goes-on",
        flow(
            [put("init", "c", 0), loop("lp", "c < 3"), counter("step", "c"), fail("f"), pick("end", "c")],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "step > f",
            "lp > end [break]",
        ),
        {"status": "failed", "failed": ["f"], "ran": {"f": 3, "lp": 4}, "outputs": {"end": 3}},
    ),
    draft(
        "failure.branch",
        "ends-its-loop",
        flow(
            [put("init", "c", 0), loop("lp", "c < 3"), counter("step", "c"), fail("f"), pick("end", "c")],
            "init > lp",
            "lp > step [continue]",
            "step > f > lp",
            "lp > end [break]",
        ),
        {"status": "failed", "failed": ["f"], "ran": {"f": 1, "lp": 1, "end": 0}},
    ),
    draft(
        "failure.status",
        "context-is-kept",
        flow([put("a", "k", 1), fail("f"), put("b", "m", 2)], "a > f", "a > b"),
        {"status": "failed", "failed": ["f"], "context": {"k": 1, "m": 2, "given": 0}, "outputs": {"a": 1, "b": 2}},
        context={"given": 0},
    ),
    draft(
        "failure.status",
        "another-fallback-does-not-help",
        flow(
            [fail("f", fallback="fb"), const("fb", 1), fail("g"), const("z", 2)],
            "fb > z",
        ),
        {"status": "failed", "failed": ["f", "g"], "outputs": {"z": 2}},
    ),
    draft(
        "failure.status",
        "all-handled",
        flow([fail("f", fallback="fb"), const("fb", 1), fail("g", fallback="gb"), const("gb", 2)]),
        {"status": "completed", "failed": ["f", "g"]},
    ),
    draft(
        "failure.status",
        "one-iteration-fails",
        flow(
            [
                put("init", "c", 0),
                loop("lp", "c < 2"),
                counter("step", "c"),
                fail("f"),
                echo("ok"),
                pick("end", "c"),
            ],
            "init > lp",
            "lp > step [continue]",
            "step > lp",
            "step > f {c === 1}",
            "step > ok {c === 2}",
            "lp > end [break]",
        ),
        {"status": "failed", "failed": ["f"], "ran": {"f": 1, "ok": 1, "lp": 3, "end": 1}},
    ),
    draft(
        "failure.failed-nodes",
        "handled-and-unhandled",
        flow([fail("z"), fail("f", fallback="fb"), const("fb", 1), fail("a")]),
        {"status": "failed", "failed": ["a", "f", "z"]},
    ),
    draft(
        "failure.failed-nodes",
        "recovered-by-retry-is-none",
        flow([flaky("f", 2, "ok", retries=3), echo("z")], "f > z"),
        {"failed": [], "outputs": {"z": "ok"}},
    ),
    draft(
        "failure.failed-nodes",
        "chain",
        flow([fail("f", fallback="g"), fail("g", fallback="h"), const("h", 1)]),
        {"failed": ["f", "g"], "outputs": {"f": None, "g": None, "h": 1}},
    ),
    draft(
        "failure.fatal",
        "no-retry",
        flow([node("f", "fatal", retries=5), echo("z")], "f > z"),
        {"status": "failed", "failed": ["f"], "ran": {"f": 1, "z": 0}},
    ),
    draft(
        "failure.fatal",
        "no-fallback",
        flow([const("a", 1), node("f", "fatal", fallback="fb"), const("fb", 2), echo("z")], "a > f > z"),
        {"status": "failed", "failed": ["f"], "ran": {"fb": 0, "z": 0}, "outputs": {"f": ABSENT}},
    ),
    draft(
        "failure.fatal",
        "no-delay",
        flow([node("f", "fatal", config={"maxRetries": 3, "retryDelay": 3_600_000}), const("a", 1)]),
        {"status": "failed", "failed": ["f"], "ran": {"f": 1}},
    ),
    draft(
        "failure.fatal",
        "in-a-fallback",
        flow([fail("f", fallback="g"), node("g", "fatal", fallback="h"), const("h", 1)]),
        {"status": "failed", "failed": ["f", "g"], "ran": {"h": 0}, "outputs": {"f": None, "g": ABSENT}},
    ),
    draft(
        "failure.fatal",
        "other-branches-go-on",
        flow([const("s", 1), node("f", "fatal"), slow("a", 60, 1), add("b")], "s > f", "s > a > b"),
        {"status": "failed", "failed": ["f"], "outputs": {"b": 2}},
    ),
    draft(
        "failure.retries",
        "enough",
        flow([flaky("f", 3, "ok", retries=4), echo("z")], "f > z"),
        {"outputs": {"z": "ok"}, "ran": {"f": 1}},
    ),
    draft(
        "failure.retries",
        "one-too-few",
        flow([flaky("f", 3, "ok", retries=3), echo("z")], "f > z"),
        {"status": "failed", "failed": ["f"], "ran": {"f": 1, "z": 0}},
    ),
    draft(
        "failure.retries",
        "one-by-default",
        flow([flaky("f", 1, "ok"), flaky("g", 0, "ok")]),
        {"status": "failed", "failed": ["f"], "outputs": {"g": "ok"}},
    ),
    draft(
        "failure.retries",
        "then-the-fallback",
        flow([const("a", 4), flaky("f", 3, "ok", retries=2, fallback="fb"), add("fb", 1), echo("z")], "a > f > z"),
        {"outputs": {"fb": 5, "z": 5}, "failed": ["f"], "ran": {"f": 1, "fb": 1}},
    ),
    draft(
        "failure.retries.per-start",
        "in-a-loop",
        flow(
            [
                put("init", "c", 0),
                loop("lp", "c < 3"),
                counter("step", "c"),
                flaky("f", 1, "ok", retries=2),
                echo("end"),
            ],
            "init > lp",
            "lp > step [continue]",
            "step > f > lp",
            "lp > end [break]",
        ),
        {"ran": {"f": 3, "lp": 4}, "failed": []},
    ),
    draft(
        "failure.retries.per-start",
        "fails-in-every-iteration",
        flow(
            [
                put("init", "c", 0),
                loop("lp", "c < 3"),
                counter("step", "c"),
                flaky("f", 2, "ok", retries=2, fallback="fb"),
                const("fb", 0),
                echo("end"),
            ],
            "init > lp",
            "lp > step [continue]",
            "step > f > lp",
            "lp > end [break]",
        ),
        {"ran": {"f": 3, "fb": 3, "lp": 4}, "failed": ["f"]},
    ),
    draft(
        "failure.retries.per-start",
        "fallback-for-two",
        flow(
            [
                fail("f", fallback="fb"),
                fail("g", fallback="fb"),
                flaky("fb", 1, "ok", retries=2),
                collect("z", "fb"),
            ],
            "f > z",
            "g > z",
        ),
        {"ran": {"fb": 2}, "failed": ["f", "g"], "outputs": {"z": ["ok"]}},
    ),
    draft(
        "failure.retry-delay",
        "two-delays",
        flow([flaky("f", 2, "ok", config={"maxRetries": 3, "retryDelay": 30}), echo("z")], "f > z"),
        {"outputs": {"z": "ok"}, "ran": {"f": 1}},
    ),
    draft(
        "failure.retry-delay",
        "others-go-on",
        flow(
            [
                const("s", 1),
                flaky("f", 1, "ok", config={"maxRetries": 2, "retryDelay": 200}),
                add("a"),
                collect("j", "a", "f"),
            ],
            "s > f > j",
            "s > a > j",
        ),
        {"outputs": {"j": [2, "ok"]}},
    ),
    draft(
        "failure.retry-delay",
        "used-up",
        flow(
            [fail("f", config={"maxRetries": 3, "retryDelay": 20, "fallback": "fb"}), const("fb", 1), echo("z")],
            "f > z",
        ),
        {"outputs": {"z": 1}, "failed": ["f"], "ran": {"f": 1}},
    ),
    draft(
        "failure.retry-backoff",
        "doubles",
        flow([flaky("f", 3, "ok", config={"maxRetries": 4, "retryDelay": 10, "retryBackoff": 2}), echo("z")], "f > z"),
        {"outputs": {"z": "ok"}},
    ),
    draft(
        "failure.retry-backoff",
        "grows-slowly",
        flow(
            [flaky("f", 4, "ok", config={"maxRetries": 5, "retryDelay": 10, "retryBackoff": 1.5}), echo("z")],
            "f > z",
        ),
        {"outputs": {"z": "ok"}},
    ),
    draft(
        "failure.retry-backoff",
        "constant-by-default",
        flow([flaky("f", 9, "ok", config={"maxRetries": 10, "retryDelay": 20}), echo("z")], "f > z"),
        {"outputs": {"z": "ok"}},
    ),
    draft(
        "failure.retry-max-delay",
        "cuts-the-delay",
        flow(
            [flaky("f", 2, "ok", config={"maxRetries": 3, "retryDelay": 3_600_000, "retryMaxDelay": 20}), echo("z")],
            "f > z",
        ),
        {"outputs": {"z": "ok"}},
    ),
    draft(
        "failure.retry-max-delay",
        "cuts-the-backoff",
        flow(
            [
                flaky(
                    "f",
                    4,
                    "ok",
                    config={"maxRetries": 5, "retryDelay": 1, "retryBackoff": 10_000, "retryMaxDelay": 30},
                ),
                echo("z"),
            ],
            "f > z",
        ),
        {"outputs": {"z": "ok"}},
    ),
    draft(
        "failure.retry-max-delay",
        "before-the-fallback",
        flow(
            [
                fail("f", config={"maxRetries": 3, "retryDelay": 600_000, "retryMaxDelay": 10, "fallback": "fb"}),
                const("fb", 1),
            ],
        ),
        {"outputs": {"fb": 1}, "failed": ["f"]},
    ),
    draft(
        "failure.timeout",
        "too-slow",
        flow([slow("f", 3_000, 1, timeout=80), echo("z")], "f > z"),
        {"status": "failed", "failed": ["f"], "outputs": {"f": ABSENT}, "ran": {"z": 0}},
    ),
    draft(
        "failure.timeout",
        "fast-enough",
        flow([slow("f", 20, "ok", timeout=20_000), echo("z")], "f > z"),
        {"outputs": {"z": "ok"}},
    ),
    draft(
        "failure.timeout",
        "fallback",
        flow([const("a", 3), slow("f", 3_000, 1, timeout=60, fallback="fb"), add("fb", 1), echo("z")], "a > f > z"),
        {"outputs": {"z": 4, "f": None}, "failed": ["f"]},
    ),
    draft(
        "failure.timeout.per-attempt",
        "every-attempt",
        flow([slow("f", 3_000, 1, timeout=50, retries=3, fallback="fb"), const("fb", 2)]),
        {"outputs": {"fb": 2}, "failed": ["f"], "ran": {"f": 1}},
    ),
    draft(
        "failure.timeout.per-attempt",
        "delays-do-not-count",
        flow([flaky("f", 2, "ok", config={"maxRetries": 3, "retryDelay": 250, "timeout": 400}), echo("z")], "f > z"),
        {"outputs": {"z": "ok"}},
    ),
    draft(
        "failure.timeout.per-attempt",
        "a-sleep-is-no-user-code",
        flow([const("a", 1), node("s", "sleep", timeout=20, duration=200), echo("z")], "a > s > z"),
        {"first": "awaiting", "outputs": {"z": 1}, "failed": []},
        resume=[{"node": "s", "timer": True}],
    ),
    draft(
        "failure.timeout.subflow",
        "too-slow",
        flow([node("sf", "subflow", blueprintId="in", timeout=60), echo("z")], "sf > z"),
        {"status": "failed", "failed": ["sf"], "ran": {"sf": 1, "z": 0}},
        subs={"in": flow([slow("x", 3_000, "late"), echo("y")], "x > y")},
    ),
    draft(
        "failure.timeout.subflow",
        "sum-of-its-nodes",
        flow(
            [node("sf", "subflow", blueprintId="in", timeout=150, fallback="fb"), const("fb", 1), echo("z")], "sf > z"
        ),
        {"outputs": {"z": 1}, "failed": ["sf"]},
        subs={"in": flow([slow("x", 100, 1), slow("y", 100, 2), slow("q", 100, 3)], "x > y > q")},
    ),
    draft(
        "failure.timeout.subflow",
        "fast-enough",
        flow([node("sf", "subflow", blueprintId="in", timeout=30_000), concat("z", "!")], "sf > z"),
        {"outputs": {"z": "late!"}},
        subs={"in": _SLOW_CHILD},
    ),
    draft(
        "failure.writes.dropped",
        "of-earlier-attempts",
        flow([node("f", "dirty", times=2, value="ok", retries=3), pick("z", "attempt_1")], "f > z"),
        {"context": {"attempt_3": True, "attempt_1": ABSENT, "attempt_2": ABSENT}, "outputs": {"z": None}},
    ),
    draft(
        "failure.writes.dropped",
        "of-a-node-that-fails",
        flow([node("f", "dirty", times=3, value="ok", retries=3), const("a", 1), pick("z", "attempt_1")], "a > z"),
        {"status": "failed", "failed": ["f"], "context": {f"attempt_{n}": ABSENT for n in (1, 2, 3)}},
    ),
    draft(
        "failure.writes.dropped",
        "of-a-handled-failure",
        flow(
            [
                node("f", "dirty", times=2, value="ok", retries=2, fallback="fb"),
                pick("fb", "attempt_1"),
                pick("z", "attempt_2"),
            ],
            "f > z",
        ),
        {"failed": ["f"], "outputs": {"fb": None, "z": None}, "context": {"attempt_1": ABSENT, "attempt_2": ABSENT}},
    ),
    draft(
        "failure.writes.committed",
        "seen-by-the-successor",
        flow([put("a", "k", 1), counter("b", "k"), pick("z", "k")], "a > b > z"),
        {"outputs": {"b": 2, "z": 2}, "context": {"k": 2}},
    ),
    draft(
        "failure.writes.committed",
        "successful-attempt",
        flow([node("f", "dirty", times=1, value="ok", retries=2), pick("z", "attempt_2")], "f > z"),
        {"outputs": {"z": True}, "context": {"attempt_2": True, "attempt_1": ABSENT}},
    ),
    draft(
        "failure.writes.committed",
        "seen-by-its-own-edges",
        flow(
            [node("f", "dirty", times=0, value="ok"), const("x", 1), const("y", 1)],
            "f > x {attempt_1}",
            "f > y {!attempt_1}",
        ),
        {"ran": {"x": 1, "y": 0}},
    ),
)
