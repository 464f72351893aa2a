"""For each rule of ``tests/conformance/rules.md`` a change that breaks it."""

from __future__ import annotations

from tests.mutation.mutating import Change

DECIDE = "engine.decide:RunState."
BATCHES = "engine.batches:"
PLAN = "engine.plan:_compile"
TARGET = "engine.plan:PlannedEdge.find_target_iterations"
BODIES = "engine.loops:find_bodies"
INPUT = "engine.inputs:resolve_input"
NAME = "engine.inputs:resolve_name"
CHOOSE = "engine.routing:_choose"
TRANSFORM = "engine.routing:_transform"
CANDIDATES = "engine.routing:find_candidates"
EXECUTE = "engine.execute:execute"
SIGNALS = "runtime.signals:SignalReader."
BUILT_IN = "engine.builtins:"
WAITS = "runtime.waits:WaitFinder."

NO_EDGE_BACK = Change(TARGET, "own + 1", "own")
NOTHING_LEAVES = Change(BODIES, "onward - _reach(outward, successors, barrier)", "onward")
EARLY_JOIN = Change("engine.joins:Joins._check", "== self._plan.sources[target]", ">= 1")
NO_INHERITANCE = Change(CANDIDATES, "edges.extend(plan.outgoing[cause.node_id])", "pass")
ANY_DEFAULT = Change(CHOOSE, "if edge.spec.action is None and passes(edge)", "if passes(edge)")

LATE_TRANSFORM = """if selection.default is not None:
        edge = selection.default.edge.spec
        if edge.transform is not None:
            from flowcraft_dagster.engine import routing

            source = snapshot.find(edge.source)
            aftermath = routing.Aftermath(snapshot, "", None, ())
            scope = routing.TransformScope(aftermath, None if source is None else source.peek())
            value = routing.evaluate(edge.transform, scope).value
            return None if value is UNDEFINED else Stored(encode(value))
        return selection.default.value"""

CHANGES: dict[str, tuple[Change, ...]] = {
    # -- activations ---------------------------------------------------------------------------------------------
    "activations.iteration": (NO_EDGE_BACK,),
    "activations.body.continue": (
        Change(
            BODIES,
            "onward = _reach((edge.target for edge in own if edge.action == CONTINUE), successors, barrier)",
            "onward = {edge.target for edge in own if edge.action == CONTINUE}",
        ),
    ),
    "activations.body.exit": (NOTHING_LEAVES,),
    "activations.body.dominator": (Change(BODIES, "dominators[controller] | {controller}", "{controller}"),),
    "activations.body.fallback": (
        Change("engine.loops:find_successors", "if node.config.fallback in successors:", "if False:"),
    ),
    "activations.entry": (Change(TARGET, "else iterations[slot]", "else 0 if self.enters == 0 else iterations[slot]"),),
    "activations.outside.all": (
        Change(
            "engine.joins:Joins._join",
            "if _matches(outside.pattern, iterations):",
            "if _matches(outside.pattern, iterations) and not any(iterations):",
        ),
    ),
    "activations.outside.any": (Change("engine.joins:Joins.enter", "return [", "return [] and ["),),
    "activations.controller.any": (Change(PLAN, 'or node.kind == "loop-controller"', "or False"),),
    "activations.controller.once": (Change(TARGET, "own + 1", "own + 1 + self.index"),),
    "activations.nested": (
        Change("engine.activation:Activation.key", '".".join(map(str, self.iterations))', "str(self.iterations[-1])"),
    ),
    "activations.sequence": (
        Change(
            DECIDE + "_start",
            "if known is None:",
            "begun = [self.plan.node(name).kind for name in self._begun if name != activation.node_id]\n"
            '    if known is None and not (activation.node_id in self.plan.is_any and "loop-controller" in begun):',
        ),
    ),
    "activations.outputs": (
        Change(DECIDE + "_rank", "return activation.iterations,", "return activation.iterations[::-1],"),
    ),
    "activations.reads": (
        Change(DECIDE + "take_snapshot", "Snapshot(self.context, self.version,", "Snapshot(self.context, 0,"),
    ),
    "activations.cycle": (Change("engine.plan:find_starts", "if starts:", "if True:"),),
    # -- joins ---------------------------------------------------------------------------------------------------
    "joins.all.fires": (EARLY_JOIN,),
    "joins.all.distinct": (
        Change(PLAN, "distinct[edge.spec.target].add(edge.spec.source)", "distinct[edge.spec.target].add(edge)"),
    ),
    "joins.all.untaken": (
        Change("engine.joins:Joins._check", "== self._plan.sources[target]", ">= self._plan.sources[target] - 1"),
    ),
    "joins.skipped": (
        Change(DECIDE + "skipped_nodes", "self._reached - self._begun", "set(self.plan.order) - self._begun"),
    ),
    "joins.all.value": (
        Change("engine.joins:_AllJoin.add", "if self.last is None or index >= self.last.edge.index:", "if True:"),
    ),
    "joins.any.once": (
        Change(
            DECIDE + "_start",
            "if known is None:",
            "if known is None or (activation.node_id in self.plan.is_any and key not in self._fresh):",
        ),
    ),
    "joins.any.value": (Change("engine.joins:_fire_any", "Selection(arrival, ", "Selection(None, "),),
    "joins.any.one-commit": (Change(DECIDE + "_start", " and activation.node_id not in self.plan.is_any:", ":"),),
    "joins.any.untaken": (Change(PLAN, 'node.config.join_strategy == "any"', "False"),),
    "joins.inputs.plain": (
        Change(
            INPUT,
            "if selection.override is not None:\n            return selection.override.value",
            "if selection.default is not None:\n            return selection.default.value",
        ),
    ),
    "joins.inputs.transform": (Change(INPUT, "if selection.override is not None:", "if False:"),),
    # -- inputs --------------------------------------------------------------------------------------------------
    "inputs.name": (
        Change(
            "engine.context:Snapshot.find",
            "if key in self._node_ids:",
            "if key in self._node_ids and self._context.read(key, self.version) is None:",
        ),
    ),
    "inputs.object": (
        Change(
            "engine.inputs:join_members",
            "value.data for name, value in members.items() if value is not None",
            '(b"null" if value is None else value.data) for name, value in members.items()',
        ),
    ),
    "inputs.path": (Change(NAME, 'name.startswith("_") or "." not in name', "True"),),
    "inputs.reserved": (Change(NAME, 'name.startswith("_") or "." not in name', '"." not in name'),),
    "inputs.absent": (Change(INPUT, 'if inputs is not None and inputs != "":', "if inputs:"),),
    # -- routing -------------------------------------------------------------------------------------------------
    "routing.action.match": (
        Change(CHOOSE, "edge.spec.action == action and", "edge.spec.action in (action, None) and"),
    ),
    "routing.action.unmatched": (ANY_DEFAULT,),
    "routing.action.default": (Change(CHOOSE, "return [edge for", "return [] if action else [edge for"),),
    "routing.action.condition": (
        Change(CHOOSE, "if edge.spec.action == action and passes(edge)", "if edge.spec.action == action"),
    ),
    "routing.action.none": (ANY_DEFAULT,),
    "routing.all-matches": (Change("engine.routing:route", "for edge in chosen:", "for edge in chosen[:1]:"),),
    "routing.loop-condition": (Change(CHOOSE, '.kind == "loop-controller"', '.kind == ""'),),
    "routing.own-writes": (Change("engine.routing:Aftermath.find", "if key in self._writes:", "if False:"),),
    "routing.evaluated-once": (
        Change(
            INPUT,
            "if selection.default is not None:\n        return selection.default.value",
            LATE_TRANSFORM,
        ),
    ),
    "routing.transform.value": (Change(DECIDE + "_follow", "edge.value if edge.transformed else output", "output"),),
    "routing.transform.repeated": (
        Change(
            TRANSFORM,
            "return evaluation.value",
            'return globals().setdefault("_STALE", {}).setdefault((plan.blueprint.id, edge.index), evaluation.value)',
        ),
    ),
    "routing.transform.named-input": (
        Change(TRANSFORM, "if isinstance(named, str) and named and named != edge.spec.source:", "if False:"),
    ),
    "routing.transform.empty": (
        Change("engine.routing:route", "if edge.spec.transform is None:", "if not edge.spec.transform:"),
    ),
    "routing.loop-inputs": (
        Change(
            "engine.routing:TransformScope.lookup",
            'return self._members if name == "context"',
            'return {} if name == "context"',
        ),
    ),
    # -- expressions, as far as the engine and not the evaluator keeps the rule ------------------------------------
    "expressions.scope.condition": (
        Change(
            "engine.routing:ConditionScope.lookup",
            'self._members if name == "context" else UNDEFINED_NAME',
            "UNDEFINED_NAME",
        ),
    ),
    "expressions.scope.transform": (
        Change("engine.routing:TransformScope.lookup", "else UNDEFINED_NAME", "else self._members.get(name, None)"),
    ),
    "expressions.unknown-name": (
        Change("engine.routing:ConditionScope.lookup", "else UNDEFINED_NAME", "else UNDEFINED"),
    ),
    "expressions.truthiness": (
        Change("engine.routing:evaluate_condition", "is_truthy(evaluation.value)", "bool(evaluation.value)"),
    ),
    # -- failures ------------------------------------------------------------------------------------------------
    "failure.branch": (
        Change(DECIDE + "_fail", "self._unhandled = True", "self._unhandled = True\n        self.pending.clear()"),
    ),
    "failure.status": (Change(DECIDE + "status", '"failed" if self._unhandled else "completed"', '"completed"'),),
    "failure.failed-nodes": (
        Change(DECIDE + "failed_nodes", ".item is None)", ".item is None and not failure.handled)"),
    ),
    "failure.fatal": (
        Change(
            "runtime.results:ResultWriter.fail",
            "None if failure.fatal else state.find_fallback(activation)",
            "state.find_fallback(activation)",
        ),
    ),
    "failure.retries": (Change(EXECUTE, "attempt >= config.max_retries", "attempt > config.max_retries"),),
    "failure.retries.per-start": (
        Change(
            DECIDE + "next_attempt",
            "self._retries.get(key, 1)",
            'self._retries.get(key, 2 if key.partition("#")[0] in self._begun else 1)',
        ),
    ),
    "failure.retry-delay": (
        Change(
            EXECUTE,
            "if delay > 0:",
            "if delay > 0:\n            return Failed(_describe(execution, attempt, error, now))"
            "\n        if delay > 0:",
        ),
    ),
    "failure.retry-backoff": (
        Change(
            "engine.execute:find_delay",
            "config.retry_backoff ** (failed_attempt - 1)",
            "max(2, config.retry_backoff) ** (failed_attempt + 30)",
        ),
    ),
    "failure.retry-max-delay": (
        Change("engine.execute:find_delay", "delay = min(delay, config.retry_max_delay)", "pass"),
    ),
    "failure.timeout": (Change("engine.attempt:Attempt._limit", "if timeout_ms is None:", "if True:"),),
    "failure.timeout.per-attempt": (
        Change(
            EXECUTE,
            "if delay > 0:",
            "if config.timeout is not None and (attempt - 1) * delay * 1000 > config.timeout:\n"
            "            return Failed(_describe(execution, attempt, error, now))\n"
            "        if delay > 0:",
        ),
    ),
    "failure.timeout.subflow": (
        Change("runtime.deadlines:find_moment", "return start + seconds", "return start + seconds + 1e9"),
    ),
    "failure.writes.dropped": (
        Change(
            "engine.attempt:Attempt.__init__",
            "context=RunContext(execution.snapshot)",
            'context=globals().setdefault("_KEPT", {}).setdefault((execution.run_id, execution.activation.key), '
            "RunContext(execution.snapshot))",
        ),
    ),
    "failure.writes.committed": (
        Change(DECIDE + "_apply_ended", "self.context.write(key, self.version, value)", "pass"),
    ),
    # -- fallbacks -----------------------------------------------------------------------------------------------
    "fallback.only-as-such": (Change(DECIDE + "apply", "if target not in self.plan.fallbacks:", "if True:"),),
    "fallback.input": (Change(INPUT, "return caught[0]", "return None"),),
    "fallback.catch-error": (Change(DECIDE + "take_snapshot", "if caught is not None:", "if False:"),),
    "fallback.catch-error.private": (
        Change(
            DECIDE + "take_snapshot",
            "None if activation is None else self._caught.get(activation.key)",
            "next(iter(self._caught.values()), None)",
        ),
    ),
    "fallback.inherits": (NO_INHERITANCE,),
    "fallback.inherits.routing": (
        Change("engine.routing:route", "if output is not None:", "if output is not None and activation.cause is None:"),
    ),
    "fallback.inherits.chain": (Change(CANDIDATES, "cause = cause.cause", "cause = None"),),
    "fallback.per-activation": (Change("engine.activation:Activation.key", 'f"@{self.cause.key}"', '"@"'),),
    "fallback.per-activation.edges": (
        Change(
            CANDIDATES,
            "edges.extend(plan.outgoing[cause.node_id])",
            "edges.extend(edge for node in plan.blueprint.nodes if node.config.fallback == activation.node_id "
            "for edge in plan.outgoing[node.id])",
        ),
    ),
    "fallback.outputs": (Change(DECIDE + "_rank", "tuple(causes)", "()"),),
    "fallback.outputs.iterations": (
        Change(DECIDE + "_rank", "return activation.iterations, tuple(causes)", "return tuple(causes), ()"),
    ),
    "fallback.chain": (
        Change(
            DECIDE + "find_fallback",
            "if activation.item is not None or",
            "if activation.item is not None or activation.cause is not None or",
        ),
    ),
    "fallback.unused": (Change("engine.plan:find_starts", " and node.id not in fallbacks", ""),),
    "fallback.loops": (
        Change(DECIDE + "find_fallback", "places.get(loop, 0) for", "0 for"),
        Change("engine.decide:find_edge_owner", "while owner is not None:", "while False:"),
    ),
    # -- waiting -------------------------------------------------------------------------------------------------
    "waiting.each-on-its-own": (
        Change(
            SIGNALS + "_read_rows",
            "self._run.state.opened.get(signal.key[len(ANSWER) :])",
            "next(iter(self._run.state.opened.values()), None)",
        ),
    ),
    "waiting.others-go-on": (
        Change(
            "runtime.lane:RunLane._may_start",
            "and not run.state.is_cancelling",
            "and not run.state.is_cancelling and not run.state.opened",
        ),
    ),
    "waiting.output": (
        Change(SIGNALS + "_read_rows", 'Stored(encode(document["output"])) if "output" in document else None', "None"),
    ),
    "waiting.action": (Change(SIGNALS + "_read_rows", 'action=document.get("action")', "action=None"),),
    "waiting.conditions": (
        Change(
            "runtime.results:ResultWriter.end",
            "self._route(activation, done.output,",
            "self._route(activation, None,",
        ),
    ),
    "waiting.join": (
        Change(
            DECIDE + "_apply_opened",
            'if fact.kind == "batch-scatter":',
            'if fact.kind in ("wait", "webhook"):\n'
            "        edges = [TakenEdge(edge.index) for edge in self.plan.outgoing[activation.node_id]]\n"
            "        self._follow(activation, fact.output, edges, arrivals, [])\n"
            '    if fact.kind == "batch-scatter":',
        ),
    ),
    "waiting.loop": (
        Change(
            DECIDE + "_apply_ended",
            "self._follow(activation, fact.output, fact.taken, arrivals, entered)",
            "opened and activation.iterations or self._follow(activation, fact.output, fact.taken, arrivals, entered)",
        ),
    ),
    "waiting.child": (
        Change(WAITS + "find", 'if wait.kind == "subflow" and node.startswith(f"{name}/"):', "if False:"),
    ),
    "waiting.child.nested": (
        Change(
            WAITS + "find",
            'node.startswith(f"{name}/"):',
            'node.startswith(f"{name}/") and node.count("/") == 1:',
        ),
    ),
    "waiting.child.repeated": (
        Change(
            SIGNALS + "_read_rows",
            "self._run.state.opened.get(signal.key[len(ANSWER) :])",
            "None if self._run.header.parent and self._run.state.skipped_nodes else "
            "self._run.state.opened.get(signal.key[len(ANSWER) :])"
            " if not self._run.header.parent or not any(s.key != signal.key for s in signals) else None",
        ),
    ),
    "waiting.webhook": (Change(SIGNALS + "_read_rows", 'in ("wait", "webhook")', 'in ("wait",)'),),
    "waiting.names": (
        Change(
            "blueprint.model:NodeSpec.kind",
            "BUILT_IN_KINDS.get(self.uses)",
            "BUILT_IN_KINDS.get(self.uses) if self.uses.islower() else None",
        ),
    ),
    "waiting.sleep.output": (Change(SIGNALS + "_look_at", "Done(output=opened.value)", "Done()"),),
    "waiting.sleep.duration": (
        Change(
            BUILT_IN + "parse_duration", "if seconds is None:", "if seconds is None:\n        return 0.0\n    if False:"
        ),
    ),
    "waiting.sleep.together": (
        Change("runtime.emission:Emitter.prepare", "add_timers(timers)", "add_timers(timers[-1:])"),
        Change(SIGNALS + "_look_at", 'opened.details["wakeAt"] <= self._services.clock.now()', "False"),
    ),
    "waiting.failure": (Change(DECIDE + "status", "if self.opened:", "if self.opened and not self._unhandled:"),),
    "waiting.fallback": (
        Change(
            SIGNALS + "_activation",
            "return activation",
            "return Activation(activation.node_id, activation.iterations)",
        ),
    ),
    # -- sub-flows -----------------------------------------------------------------------------------------------
    "subflow.input": (Change(BUILT_IN + "_start_subflow", "for node_id in starts}", "for node_id in starts[:1]}"),),
    "subflow.inputs": (Change(BUILT_IN + "_start_subflow", "if isinstance(inputs, Mapping):", "if False:"),),
    "subflow.outputs": (
        Change(BUILT_IN + "map_subflow_output", "return Stored(join_members(members)), writes", "return None, writes"),
    ),
    "subflow.outputs.context": (
        Change(
            BUILT_IN + "map_subflow_output",
            "Stored(join_members(members)), writes",
            "Stored(join_members(members)), ()",
        ),
    ),
    "subflow.terminal.one": (Change(BUILT_IN + "map_subflow_output", "if len(terminals) == 1:", "if False:"),),
    "subflow.terminal.many": (Change(BUILT_IN + "map_subflow_output", "if len(terminals) == 1:", "if terminals:"),),
    "subflow.terminal.fallback": (Change(PLAN, " and node.id not in fallbacks\n", "\n"),),
    "subflow.leaks-in": (
        Change(
            BUILT_IN + "_start_subflow",
            "details: dict[str, Any] = {",
            "members = {key: start.snapshot.find_key(key) for key in start.snapshot.keys()} | members\n"
            "    details: dict[str, Any] = {",
        ),
    ),
    "subflow.leaks-out": (
        Change(
            SIGNALS + "_collect",
            "Done(output=output, writes=writes,",
            "Done(output=output, writes=(*writes, *((key, snapshot.find_key(key)) for key in snapshot.keys())),",
        ),
    ),
    "subflow.fails": (Change(SIGNALS + "_look_at_child", "header.status == COMPLETED and", "header.is_final and"),),
    "subflow.fails.handled": (Change(DECIDE + "status", '"failed" if self._unhandled', '"failed" if self.failures'),),
    "subflow.retries": (Change(SIGNALS + "_fail_attempt", "if opened.attempt < config.max_retries:", "if False:"),),
    "subflow.fallback": (
        Change(
            "runtime.results:ResultWriter.fail",
            "None if failure.fatal else",
            'None if failure.fatal or failure.type == "SubflowFailed" else',
        ),
    ),
    "subflow.nested": (
        Change(
            BUILT_IN + "derive_child_run_id",
            'f"{run_id}\\0{activation_key}\\0{attempt}"',
            'f"{activation_key}\\0{attempt}"',
        ),
    ),
    "subflow.in-loop": (
        Change(BUILT_IN + "derive_child_run_id", "{activation_key}", "{activation_key.partition('#')[0]}"),
    ),
    "subflow.loop-inside": (NO_EDGE_BACK,),
    # -- batches -------------------------------------------------------------------------------------------------
    "batch.order": (
        Change(BATCHES + "BatchResults.collect", "sorted(batch.results)", "sorted(batch.results, reverse=True)"),
    ),
    "batch.chunks": (Change(DECIDE + "_end_item", "self._start_chunk(scatter, batch)", "pass"),),
    "batch.executions": (
        Change(
            "runtime.starts:NodeStarter.start",
            "if attempt == 1:",
            'for _ in range(2 if str(node.kind).startswith("batch") else 1):',
        ),
    ),
    "batch.output-key": (
        Change(BUILT_IN + "_start_gather", 'start.node.params.get("outputKey") or start.node.id', "start.node.id"),
    ),
    "batch.empty": (
        Change(
            BATCHES + "Batch.is_over",
            "self.ended == self.started",
            "self.started > 0 and self.ended == self.started",
        ),
    ),
    "batch.input": (
        Change(
            BUILT_IN + "_start_scatter",
            "if not isinstance(items, list):",
            "items = list(items) if isinstance(items, str) else items\n    if not isinstance(items, list):",
        ),
    ),
    "batch.worker-fails": (Change(DECIDE + "apply", "INCOMPLETE if self.batches[key].failed else OK", "OK"),),
    "batch.worker-fails.chunks": (
        Change(
            DECIDE + "_end_item",
            "batch.ended == batch.started and not batch.failed and",
            "batch.ended == batch.started and",
        ),
    ),
    "batch.scatter-output": (Change(DECIDE + "_apply_opened", "self._put_output(activation, fact.output)", "pass"),),
    "batch.joins": (EARLY_JOIN,),
    "batch.loop": (
        Change(BATCHES + "_shares_iterations", "return all(", "return True or all("),
        Change(BATCHES + "BatchResults.drop", "if kept:", "if False:"),
    ),
    "batch.fallback": (NO_INHERITANCE,),
    # -- runs ----------------------------------------------------------------------------------------------------
    "run.awaiting": (Change(DECIDE + "status", "if self.pending:", "if self.pending and not self.opened:"),),
    "run.end": (Change(DECIDE + "status", "if self.pending:", "if self.pending and not self._begun:"),),
    "run.context": (
        Change(
            "runtime.result:build_result", "context=values", 'context=values if header.status == "completed" else {}'
        ),
    ),
    "run.cancel": (Change(DECIDE + "status", "if self.is_cancelling:", "if False:"),),
    "run.cancel.children": (
        Change("runtime.emission:Emitter._cancel_children", 'if opened.kind == "subflow":', "if False:"),
    ),
    "run.cancel.failures": (
        Change(DECIDE + "status", 'else "cancelled"', 'else "failed" if self._unhandled else "cancelled"'),
    ),
    "run.order-free": (
        Change(DECIDE + "apply", "fresh = list(self._fresh.values())", "fresh = list(self._fresh.values())[:1]"),
    ),
    "random": (Change("engine.routing:route", "for edge in chosen:", "for edge in chosen[:1]:"),),
}
