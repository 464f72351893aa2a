"""Attempts, delays, time-outs, threads, class nodes and middleware."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from flowcraft_dagster.blueprint.model import NodeConfig, NodeSpec
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.execute import execute, find_delay
from flowcraft_dagster.engine.execution import Execution, Interruption, Workshop
from flowcraft_dagster.engine.isolated_form import MappingReader
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.node import Middleware, NextCall, Node, NodeContext, NodeResult
from flowcraft_dagster.engine.outcome import Done, Failed, Outcome, Waiting
from flowcraft_dagster.engine.threads import SyncThreads
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import FatalNodeError


class StoppedTime:
    """A clock that only notes how long somebody wanted to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 100.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Bench:
    """Runs one node."""

    def __init__(self, middleware: Sequence[Middleware] = (), threads: int = 4, limit: int = 10_000) -> None:
        self.time = StoppedTime()
        self.threads = SyncThreads(threads)
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.workshop = Workshop(self.threads, self.time, {"key": "secret"}, tuple(middleware), limit)

    async def run(
        self,
        implementation: Any,
        value: Any = None,
        context: Mapping[str, Any] | None = None,
        first_attempt: int = 1,
        interruption: Interruption | None = None,
        params: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> Outcome:
        execution = Execution(
            run_id="run",
            blueprint_id="b",
            node=NodeSpec("n", "kind", params or {"p": 1}, None, NodeConfig(**config)),
            activation=Activation("n", (2,)),
            implementation=implementation,
            input=Stored(encode(value)),
            snapshot=MappingReader(context or {}),
            first_attempt=first_attempt,
            report=lambda kind, payload: self.events.append((kind, payload)),
            interruption=interruption or Interruption(),
        )
        try:
            return await execute(execution, self.workshop)
        finally:
            self.threads.close()


def _output(outcome: Outcome) -> Any:
    assert isinstance(outcome, Done), outcome
    return UNDEFINED if outcome.output is None else outcome.output.copy()


def _failure(outcome: Outcome) -> tuple[str, str, int]:
    assert isinstance(outcome, Failed), outcome
    return outcome.failure.type, outcome.failure.message, outcome.failure.attempt


def _flaky(times: int, error: Callable[[], BaseException] = lambda: ValueError("no")) -> Callable[..., Awaitable[int]]:
    async def node(ctx: NodeContext) -> int:
        ctx.context.set(f"a{ctx.attempt}", ctx.idempotency_key)
        if ctx.attempt <= times:
            raise error()
        return ctx.attempt

    return node


# -- attempts ----------------------------------------------------------------------------------------------------


async def test_max_retries_is_the_total_of_attempts() -> None:
    assert _output(await Bench().run(_flaky(2), max_retries=3)) == 3
    assert _failure(await Bench().run(_flaky(3), max_retries=3)) == ("ValueError", "no", 3)
    assert _failure(await Bench().run(_flaky(0), max_retries=0))[0] == "FatalNodeError"


async def test_only_the_last_attempts_writes_are_kept_and_the_key_is_stable() -> None:
    outcome = await Bench().run(_flaky(2), max_retries=5)
    assert isinstance(outcome, Done)
    assert [(key, value and value.copy()) for key, value in outcome.writes] == [("a3", "run/n#2")]


async def test_delays_grow_up_to_their_limit() -> None:
    bench = Bench()
    await bench.run(_flaky(4), max_retries=5, retry_delay=100, retry_backoff=3, retry_max_delay=500)
    assert bench.time.slept == [0.1, 0.3, 0.5, 0.5]
    assert find_delay(NodeConfig(retry_delay=10, retry_backoff=10), 5000) == 365 * 86400.0


async def test_a_long_delay_becomes_a_timer_and_counting_goes_on() -> None:
    bench = Bench()
    outcome = await bench.run(_flaky(1), max_retries=2, retry_delay=5001)
    assert isinstance(outcome, Waiting)
    assert (outcome.kind, outcome.attempt, outcome.details["wakeAt"]) == ("retry", 2, 105.001)
    assert bench.time.slept == []
    assert _output(await Bench().run(_flaky(1), max_retries=2, first_attempt=2)) == 2


async def test_a_fatal_error_is_not_retried() -> None:
    outcome = await Bench().run(_flaky(1, lambda: FatalNodeError("no way")), max_retries=9)
    assert _failure(outcome) == ("FatalNodeError", "no way", 1)
    assert isinstance(outcome, Failed)
    assert outcome.failure.fatal


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


class _Rude(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lambda: SystemExit(3), "SystemExit"),
        (lambda: KeyboardInterrupt(), "KeyboardInterrupt"),
        (lambda: _Rude("x"), "_Rude"),
        (lambda: _Unspeakable(), "_Unspeakable"),
        (lambda: ValueError("\ud800"), "ValueError"),
        (lambda: ValueError("x" * 9000), "ValueError"),
    ],
)
@pytest.mark.parametrize("timeout", [None, 5000])
async def test_whatever_a_node_raises_is_its_own_failure(
    error: Callable[[], BaseException], kind: str, timeout: int | None
) -> None:
    outcome = await Bench().run(_flaky(9, error), timeout=timeout)
    assert isinstance(outcome, Failed)
    contained = timeout is not None and kind in ("SystemExit", "KeyboardInterrupt")
    assert outcome.failure.type == ("RuntimeError" if contained else kind)
    assert len(outcome.failure.message) < 2100
    encode(outcome.failure.to_json())


async def _raise_cancelled(ctx: NodeContext) -> None:
    raise asyncio.CancelledError("from inside")


async def _cancel_own_task(ctx: NodeContext) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel("from inside")
    await asyncio.sleep(0)


def _raise_cancelled_in_a_thread(ctx: NodeContext) -> None:
    raise asyncio.CancelledError("from inside")


@pytest.mark.parametrize("node", [_raise_cancelled, _cancel_own_task, _raise_cancelled_in_a_thread])
@pytest.mark.parametrize("timeout", [None, 5000])
async def test_a_node_that_cancels_itself_has_failed(node: Callable[..., Any], timeout: int | None) -> None:
    bench = Bench()
    outcome = await bench.run(node, timeout=timeout, max_retries=2)
    assert _failure(outcome)[::2] == ("CancelledError", 2)
    assert [kind for kind, _ in bench.events] == ["node:retry"]


@pytest.mark.parametrize("timeout", [None, 5000])
async def test_only_an_interruption_leaves_as_a_cancellation(timeout: int | None) -> None:
    began = asyncio.Event()
    told: list[bool] = []

    async def node(ctx: NodeContext) -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            told.append(ctx.cancelled)
        return "never"

    bench = Bench()
    interruption = Interruption()
    running = asyncio.ensure_future(bench.run(node, timeout=timeout, max_retries=5, interruption=interruption))
    await began.wait()
    interruption.stop(running)
    await asyncio.wait({running})
    assert running.cancelled()
    # It was let clean up before.
    assert len(told) == 1


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, b"bytes", {"a": [{"b": {1, 2}}]}, "x" * 20_000],
    ids=["object", "key", "bytes", "set", "big"],
)
async def test_an_output_that_cannot_be_stored_fails_the_node(value: Any) -> None:
    async def node(ctx: NodeContext) -> Any:
        return value

    async def writer(ctx: NodeContext) -> Any:
        ctx.context.set("k", value)

    for implementation in (node, writer):
        assert _failure(await Bench().run(implementation))[0] in ("SerializationError", "SizeLimitExceeded")


async def test_a_context_key_must_be_text() -> None:
    async def node(ctx: NodeContext) -> None:
        ctx.context.set(5, 1)  # type: ignore[arg-type]

    assert _failure(await Bench().run(node)) == ("TypeError", "a context key must be text, not int", 1)


# -- what a node sees --------------------------------------------------------------------------------------------


async def test_a_node_cannot_change_what_others_see() -> None:
    seen = []

    async def node(ctx: NodeContext) -> int:
        for value in (ctx.input, ctx.context.get("k")):
            seen.append(list(value))
            value.append("changed")
        seen.append(ctx.context.get("k"))
        if ctx.attempt == 1:
            ctx.context.set("own", 1)
            raise ValueError
        assert not ctx.context.has("own")
        return 1

    outcome = await Bench().run(node, [1], {"k": [2]}, max_retries=2)
    assert seen == [[1], [2], [2]] * 2
    assert isinstance(outcome, Done)
    assert outcome.writes == ()


async def test_writes_are_seen_by_the_attempt_itself() -> None:
    async def node(ctx: NodeContext) -> Any:
        ctx.context["new"] = {"a": 1}
        ctx.context.delete("old")
        return [ctx.context["new"], ctx.context.get("old", "gone"), "old" in ctx.context, sorted(ctx.context.keys())]

    outcome = await Bench().run(node, None, {"old": 1, "other": 2})
    assert _output(outcome) == [{"a": 1}, "gone", False, ["new", "other"]]
    assert isinstance(outcome, Done)
    assert [(key, value and value.data) for key, value in outcome.writes] == [("new", b'{"a":1}'), ("old", None)]


# -- time-outs and threads ---------------------------------------------------------------------------------------


async def test_a_timeout_ends_an_attempt_of_async_code() -> None:
    stopped = []

    async def node(ctx: NodeContext) -> str:
        if ctx.attempt == 2:
            return "second"
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(ctx.cancelled)
        return "never"

    assert _output(await Bench().run(node, timeout=20, max_retries=2)) == "second"
    assert stopped == [True]
    assert _failure(await Bench().run(node, timeout=20)) == ("NodeTimeout", "node 'n' ran longer than 20 ms", 1)


async def test_a_sync_function_that_timed_out_is_abandoned_and_counted() -> None:
    go_on = threading.Event()
    told = threading.Event()

    def node(ctx: NodeContext) -> str:
        if ctx.attempt == 2:
            return threading.current_thread().name
        go_on.wait(10)
        if ctx.cancelled:
            told.set()
        return "too late"

    bench = Bench(threads=1)
    assert _output(await bench.run(node, timeout=50, max_retries=2)) == "flowcraft-node"
    assert bench.threads.abandoned == 1
    go_on.set()
    assert await asyncio.to_thread(told.wait, 10)
    for _ in range(1000):
        if bench.threads.abandoned == 0:
            break
        await asyncio.sleep(0.005)
    assert bench.threads.abandoned == 0


async def test_waiting_for_a_thread_does_not_count() -> None:
    go_on = threading.Event()
    bench = Bench(threads=1)
    holding = asyncio.ensure_future(bench.threads.run(lambda: go_on.wait(10)))
    asked = asyncio.ensure_future(bench.run(lambda ctx: "in time", timeout=200))
    # Twice the time-out goes by before the only thread is free.
    done, _ = await asyncio.wait({asked}, timeout=0.4)
    assert not done, done
    go_on.set()
    assert _output(await asked) == "in time"
    assert await holding


async def test_the_time_of_a_sync_function_counts_from_its_begin() -> None:
    go_on, forever = threading.Event(), threading.Event()
    bench = Bench(threads=1)
    holding = asyncio.ensure_future(bench.threads.run(lambda: go_on.wait(10)))
    asked = asyncio.ensure_future(bench.run(lambda ctx: forever.wait(20), timeout=100))
    await asyncio.wait({asked}, timeout=0.3)
    go_on.set()
    assert _failure(await asyncio.wait_for(asked, 10))[0] == "NodeTimeout"
    forever.set()
    assert await holding


async def test_a_call_that_never_began_does_not_begin_later() -> None:
    go_on = threading.Event()
    ran: list[str] = []
    threads = SyncThreads(1)
    first = asyncio.ensure_future(threads.run(lambda: go_on.wait(10)))
    second = asyncio.ensure_future(threads.run(lambda: ran.append("second")))
    third = asyncio.ensure_future(threads.run(lambda: ran.append("third")))
    await asyncio.sleep(0.02)
    second.cancel()
    await asyncio.wait({second})
    assert threads.abandoned == 0
    go_on.set()
    await asyncio.gather(first, third)
    assert ran == ["third"]
    threads.close()


async def test_calls_that_wait_behind_an_abandoned_thread_get_another_one() -> None:
    go_on = threading.Event()
    threads = SyncThreads(2)
    stuck = [asyncio.ensure_future(threads.run(lambda: go_on.wait(30))) for _ in range(2)]
    behind = [asyncio.ensure_future(threads.run(threading.get_ident)) for _ in range(3)]
    await asyncio.sleep(0.02)
    for task in stuck:
        task.cancel()
    await asyncio.wait(stuck)
    assert threads.abandoned == 2
    done, _ = await asyncio.wait(behind, timeout=10)
    go_on.set()
    assert len(done) == 3
    threads.close()


def _await_idle(threads: SyncThreads) -> None:
    while not threads._idle:
        time.sleep(0.001)


async def test_calls_that_come_together_run_beside_each_other_though_only_one_thread_is_idle() -> None:
    go_on = threading.Event()
    threads = SyncThreads(4)
    await threads.run(threading.get_ident)
    await asyncio.to_thread(_await_idle, threads)
    first = asyncio.ensure_future(threads.run(lambda: go_on.wait(10)))
    second = asyncio.ensure_future(threads.run(go_on.set))
    assert await first, "the second call waited behind the first"
    await second
    threads.close()


async def test_an_error_of_a_thread_reaches_its_caller() -> None:
    def node(ctx: NodeContext) -> None:
        sys.exit(4)

    assert _failure(await Bench().run(node)) == ("RuntimeError", "SystemExit: 4", 1)


# -- class nodes -------------------------------------------------------------------------------------------------


def _make_class(failures: int, *, rescues: bool = False, broken: str = "") -> tuple[type[Node], list[str]]:
    steps: list[str] = []

    def step(name: str) -> None:
        steps.append(name)
        if broken == name:
            raise ValueError(name)

    class Traced(Node):
        def __init__(self, params: Mapping[str, Any], node_id: str) -> None:
            super().__init__(params, node_id)
            step("init")

        async def prep(self, ctx: NodeContext) -> Any:
            step("prep")
            ctx.context.set("prepared", True)
            return ctx.input

        def exec(self, prepared: Any, ctx: NodeContext) -> Any:
            step("exec")
            if steps.count("exec") <= failures:
                raise ValueError("exec")
            return prepared + 1

        def fallback(self, error: Exception, ctx: NodeContext) -> Any:
            step("fallback")
            if not rescues:
                raise error
            return "rescued"

        async def post(self, result: Any, ctx: NodeContext) -> Any:
            step("post")
            return NodeResult(output=result, action="go")

        def recover(self, error: Exception, ctx: NodeContext) -> None:
            steps.append(f"recover {error}")

    return Traced, steps


@pytest.mark.parametrize(
    ("failures", "rescues", "broken", "expected"),
    [
        (0, False, "", ["init", "prep", "exec", "post"]),
        (1, False, "", ["init", "prep", "exec", "exec", "post", "recover exec"]),
        (9, True, "", ["init", "prep", "exec", "exec", "fallback", "post", "recover exec"]),
        (9, False, "", ["init", "prep", "exec", "exec", "fallback", "recover exec"]),
        (0, False, "prep", ["init", "prep", "recover prep"]),
        (0, False, "post", ["init", "prep", "exec", "post", "recover post"]),
        (9, True, "fallback", ["init", "prep", "exec", "exec", "fallback", "recover fallback"]),
        (0, False, "init", ["init"]),
    ],
)
async def test_the_steps_of_a_class_node(failures: int, rescues: bool, broken: str, expected: list[str]) -> None:
    kind, steps = _make_class(failures, rescues=rescues, broken=broken)
    outcome = await Bench().run(kind, 1, max_retries=2)
    assert steps == expected
    if broken or (failures == 9 and not rescues):
        assert _failure(outcome)[0] == "ValueError"
    else:
        assert _output(outcome) == ("rescued" if rescues else 2)
        assert isinstance(outcome, Done)
        assert outcome.action == "go"
        assert [key for key, _ in outcome.writes] == ["prepared"]


class _Untidy(Node):
    def exec(self, prepared: Any, ctx: NodeContext) -> Any:
        raise ValueError("exec")

    async def recover(self, error: Exception, ctx: NodeContext) -> None:
        raise self.params["with"]


@pytest.mark.parametrize("error", [RuntimeError("x"), SystemExit(3), asyncio.CancelledError()])
async def test_what_cleaning_up_raises_changes_nothing(error: BaseException) -> None:
    outcome = await Bench().run(_Untidy, params={"with": error})
    assert _failure(outcome) == ("ValueError", "exec", 1)


class _Stillborn(Node):
    def __init__(self, params: Mapping[str, Any], node_id: str) -> None:
        raise SystemExit("no")


async def test_a_class_that_cannot_be_made_fails_its_node_alone() -> None:
    assert _failure(await Bench().run(_Stillborn)) == ("SystemExit", "no", 1)


# -- middleware --------------------------------------------------------------------------------------------------


class _Layer(Middleware):
    def __init__(self, name: str, trace: list[str], short: Any = UNDEFINED) -> None:
        self.name, self.trace, self.short = name, trace, short

    def before_node(self, ctx: NodeContext) -> None:
        self.trace.append(f"before {self.name}")

    async def after_node(self, ctx: NodeContext, result: NodeResult | None, error: Exception | None) -> None:
        self.trace.append(f"after {self.name} {result.output if result else error}")

    async def around_node(self, ctx: NodeContext, call_next: NextCall) -> NodeResult:
        self.trace.append(f"in {self.name}")
        if self.short is not UNDEFINED:
            return NodeResult(output=self.short)
        try:
            return await call_next()
        except ValueError as error:
            return NodeResult(output=f"{self.name} caught {error}")
        finally:
            self.trace.append(f"out {self.name}")


async def test_middleware_wraps_from_the_outside_in() -> None:
    trace: list[str] = []
    bench = Bench([_Layer("a", trace), _Layer("b", trace)])
    assert _output(await bench.run(_flaky(0))) == 1
    assert trace == ["in a", "in b", "before a", "before b", "after a 1", "after b 1", "out b", "out a"]


async def test_middleware_may_answer_in_place_of_the_node() -> None:
    trace: list[str] = []
    bench = Bench([_Layer("a", trace), _Layer("b", trace, short="instead"), _Layer("c", trace)])
    assert _output(await bench.run(_flaky(9))) == "instead"
    assert trace == ["in a", "in b", "out a"]


async def test_middleware_sees_and_may_turn_an_error() -> None:
    trace: list[str] = []
    bench = Bench([_Layer("a", trace)])
    assert _output(await bench.run(_flaky(9))) == "a caught no"
    assert trace == ["in a", "before a", "after a no", "out a"]


async def test_a_node_that_ran_leaves_nothing_for_the_collector_of_cycles() -> None:
    bench = Bench()

    async def add(ctx: NodeContext) -> int:
        ctx.context.set("seen", ctx.cancelled)
        return int(ctx.input) + 1

    await bench.run(add, 1)
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            assert isinstance(await bench.run(add, number), Done)
        assert gc.collect() < 50, "each node left a cycle"
    finally:
        gc.enable()
