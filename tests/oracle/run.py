"""A run of one blueprint, interpreted by full recomputation.

A run is a list of activations. `Run.moves` scans all of them and lists every single thing that may happen next; whoever
drives the run picks one, and everything is scanned again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from tests.oracle.execution import check_duration, names, only, resolve, retried
from tests.oracle.graph import CONTROLLER, Edge, Graph, Node, read
from tests.oracle.kinds import NodeError, Outcome, perform
from tests.oracle.script import evaluate
from tests.oracle.state import Activation, CaseError, Numbers, Setting, Taken, View
from tests.oracle.values import UNDEFINED, as_number, is_nothing, is_number, truthy

Move = Callable[[], None]

WAITS = ("wait", "webhook")


class Run:
    """One run and, below it, its child runs."""

    def __init__(
        self,
        setting: Setting,
        blueprint_id: str,
        context: Mapping[str, object],
        given: object = UNDEFINED,
    ) -> None:
        """Prepare a run.

        Args:
            setting: What holds for the whole tree of runs.
            blueprint_id: Which blueprint.
            context: The initial context.
            given: What a sub-flow node hands to the start nodes.
        """
        self.setting = setting
        self.graph: Graph = read(setting.blueprints[blueprint_id])
        self.context: dict[str, object] = dict(context)
        self.given = given
        self.activations: list[Activation] = []
        self.taken: list[Taken] = []
        self.moment = 0
        self.cancelled = False
        self.workers = 0

    # -- what is there -------------------------------------------------------------------------------------------

    def tree(self) -> list[Run]:
        """This run and all child runs that are still of interest."""
        children = [act.child for act in self.activations if act.child is not None and act.state == "open"]
        return [self, *itertools.chain.from_iterable(child.tree() for child in children)]

    def status(self) -> str:
        """The status of a run in which nothing can move."""
        if self.cancelled:
            return "cancelled"
        if any(act.state == "open" for act in self.activations):
            return "awaiting"
        if any((act.state == "failed" and not act.handled) or act.broken for act in self.activations):
            return "failed"
        return "completed"

    def view(self) -> View:
        """What is committed now."""
        best: dict[str, Activation] = {}
        latest: dict[str, Activation] = {}
        for act in self.activations:
            shown = latest.get(act.node.id)
            if shown is None or self._rank(act) > self._rank(shown):
                latest[act.node.id] = act
            if not act.committed or not (act.state in ("done", "open") or act.handled):
                continue
            held = best.get(act.node.id)
            if held is None or self._rank(act) > self._rank(held):
                best[act.node.id] = act
        outputs = {name: None if act.handled else _output(act) for name, act in best.items()}
        return View(dict(self.context), outputs, {name: act.carried for name, act in latest.items()})

    def outputs(self) -> dict[str, object]:
        """Every committed output by node id, undefined ones left out."""
        return {name: value for name, value in self.view().outputs.items() if value is not UNDEFINED}

    def _rank(self, act: Activation) -> tuple[object, ...]:
        """Order among the activations of one node: iterations, outermost first; then the place of the failing node."""
        numbers = tuple(act.numbers.get(loop, -1) for loop in self.graph.loops_of[act.node.id])
        if act.origin is None:
            return (numbers,)
        return (numbers, act.origin.node.index, *self._rank(act.origin))

    # -- what may start ------------------------------------------------------------------------------------------

    def ready(self) -> list[Activation]:
        """Every activation that may start, found by scanning everything."""
        found: list[Activation] = []
        for name in self.graph.starts:
            found.append(
                Activation(self.graph.nodes[name], dict.fromkeys(self.graph.loops_of[name], 0), None, self.given)
            )
        for act in self.activations:
            if act.committed and act.handled and act.node.fallback in self.graph.nodes:
                node = self.graph.nodes[act.node.fallback]
                found.append(Activation(node, act.numbers, act, act.value, None, act.ended))
        for node in self.graph.nodes.values():
            if node.id not in self.graph.fallbacks:
                found.extend(self._joined(node))
        known = {act.key() for act in self.activations}
        fresh: dict[tuple[object, ...], Activation] = {}
        for act in found:
            if act.key() not in known:
                fresh.setdefault(act.key(), act)
        return list(fresh.values())

    def _joined(self, node: Node) -> list[Activation]:
        arrivals = [taken for taken in self.taken if taken.edge.target == node.id]
        found: list[Activation] = []
        for numbers in self._slots(node, arrivals):
            fitting = [(taken, self._effective(node, numbers, taken)) for taken in arrivals]
            counted = [(taken, moment) for taken, moment in fitting if moment is not None]
            if node.fires_on_any:
                if counted:
                    first, _ = min(counted, key=lambda pair: (pair[1], pair[0].edge.index))
                    found.append(self._with_value(node, numbers, [first]))
                continue
            sources = {edge.source for edge in self.graph.edges if edge.target == node.id}
            if counted and {taken.edge.source for taken, _ in counted} == sources and self._gatherable(node, numbers):
                # One edge may have been taken in several iterations that it leaves: the highest one counts.
                order = sorted((taken for taken, _ in counted), key=lambda one: (one.edge.index, self._rank(one.by)))
                found.append(self._with_value(node, numbers, order))
        return found

    def _with_value(self, node: Node, numbers: Numbers, arrivals: list[Taken]) -> Activation:
        changed = [taken for taken in arrivals if taken.edge.transform is not None]
        override = (changed[-1].value,) if changed else None
        began = max(taken.by.ended for taken in arrivals)
        return Activation(node, numbers, None, arrivals[-1].value, override, began)

    def _slots(self, node: Node, arrivals: list[Taken]) -> list[Numbers]:
        """Every combination of iteration numbers that an arrival, or the loops that were entered, make possible."""
        loops = self.graph.loops_of[node.id]
        slots: list[Numbers] = []
        for taken in arrivals:
            pattern = self._pattern(node, taken)
            seen = [[pattern[loop]] if pattern[loop] is not None else sorted(self._entered(loop)) for loop in loops]
            for numbers in itertools.product(*seen):
                slot = {loop: number for loop, number in zip(loops, numbers, strict=True) if number is not None}
                if slot not in slots:
                    slots.append(slot)
        return slots

    def _entered(self, loop: str) -> set[int]:
        return {act.numbers[loop] for act in self.activations if act.node.id == loop}

    def _pattern(self, node: Node, taken: Taken) -> dict[str, int | None]:
        """Which iterations an edge leads to; None stands for every iteration."""
        source, numbers = taken.edge.source, taken.by.numbers
        found: dict[str, int | None] = {}
        for loop in self.graph.loops_of[node.id]:
            inside = source == loop or source in self.graph.bodies[loop]
            if loop == node.id:
                found[loop] = numbers.get(loop, 0) + 1 if inside else 0
            else:
                found[loop] = numbers.get(loop) if inside else None
        return found

    def _effective(self, node: Node, numbers: Numbers, taken: Taken) -> int | None:
        """Since which commit an edge counts for the activation with these numbers; None when it does not."""
        moment = taken.moment
        pattern = self._pattern(node, taken)
        for loop, number in pattern.items():
            if number is not None and number != numbers[loop]:
                return None
            if number is None and node.fires_on_any:
                entered = self._continued(loop, numbers)
                if entered is None:
                    return None
                moment = max(moment, entered)
        return moment

    def _continued(self, loop: str, numbers: Numbers) -> int | None:
        """In which commit the loop entered this iteration by `continue`."""
        for taken in self.taken:
            at = {name: numbers[name] for name in self.graph.loops_of[loop]}
            if taken.edge.source == loop and taken.edge.action == "continue" and dict(taken.by.numbers) == at:
                return taken.moment
        return None

    def _scatters(self, node: Node, numbers: Numbers) -> list[Activation]:
        return [
            act
            for act in self.activations
            if act.node.kind == "batch-scatter"
            and act.node.params.get("gatherNodeId") == node.id
            and act.state != "failed"
            and all(numbers.get(loop, number) == number for loop, number in act.numbers.items())
        ]

    def _gatherable(self, node: Node, numbers: Numbers) -> bool:
        if node.kind != "batch-gather":
            return True
        return all(act.state == "done" and not act.broken for act in self._scatters(node, numbers))

    # -- what may happen -----------------------------------------------------------------------------------------

    def moves(self) -> list[Move]:
        """Everything that may happen next in this run and below it."""
        if self.cancelled:
            return []
        found: list[Move] = [_bind(self._start, act) for act in self.ready()]
        running = [act for act in self.activations if act.state == "running"]
        found.extend(_bind(self._commit, [act]) for act in running)
        if len(running) > 1:
            found.append(_bind(self._commit, running))
        for act in self.activations:
            if act.state != "open":
                continue
            if act.child is not None:
                below = act.child.moves()
                found.extend(below)
                if not below and act.child.status() != "awaiting":
                    found.append(_bind(self._end_child, act))
            if act.node.kind == "batch-scatter":
                found.extend(self._batch_moves(act))
        return found

    def timers(self) -> list[Move]:
        """Every open sleep that may fire, in this run and below it."""
        found: list[Move] = []
        for act in self.activations:
            if act.state == "open" and act.child is not None:
                found.extend(act.child.timers())
            elif act.state == "open" and act.node.kind == "sleep":
                found.append(_bind(self.end, act))
        return [] if self.cancelled else found

    def _start(self, act: Activation) -> None:
        self.activations.append(act)
        act.view = self.view()
        if act.origin is not None:
            message = str(act.origin.error)
            act.view.catch_error = {"message": message, "nodeId": act.origin.node.id, "blueprintId": self.graph.id}
        act.value = resolve(act)
        act.ended = act.began
        limit = act.node.kind == CONTROLLER and act.numbers[act.node.id] >= self.setting.loop_limit
        try:
            if limit:
                raise NodeError("the loop has too many iterations", fatal=True)
            self._attempts(act)
        except NodeError as error:
            act.error = error

    def _attempts(self, act: Activation) -> None:
        kind, params, config = act.node.kind, act.node.params, act.node.config
        if kind in WAITS:
            return
        if kind == "sleep":
            check_duration(params.get("duration"))
        elif kind == "subflow":
            act.child = self._child(act)
        elif kind == "batch-scatter":
            value = act.value if truthy(act.value) else []
            if not isinstance(value, list):
                raise NodeError("the input of a batch is no list")
            act.items = value
            act.outcome = Outcome({"gatherNodeId": params.get("gatherNodeId"), "hasMore": False})
        elif kind == "batch-gather":
            act.outcome = self._gathered(act)
        elif kind == CONTROLLER:
            again = truthy(evaluate(str(params.get("condition")), names(act.view, {})))
            act.outcome = Outcome(UNDEFINED, "continue") if again else Outcome(None, "break")
        else:
            act.outcome = retried(act, int(as_number(config.get("maxRetries", 1))), config.get("timeout"))

    def _gathered(self, act: Activation) -> Outcome:
        results: list[object] = []
        for scatter in self._scatters(act.node, act.numbers):
            ordered = [scatter.results[index] for index in range(len(scatter.items))]
            results.extend(value for value in ordered if value is not UNDEFINED)
        key = act.node.params.get("outputKey") or act.node.id
        return Outcome(results, None, {str(key): results})

    # -- commits -------------------------------------------------------------------------------------------------

    def _commit(self, acts: list[Activation]) -> None:
        """Commit what these activations have: one commit, however many they are."""
        formed = [(act, self._edges(act)) for act in acts]
        self.moment += 1
        for act, edges in formed:
            self._settle(act, edges)

    def _settle(self, act: Activation, edges: list[Taken]) -> None:
        act.committed = act.outcome is not None or act.error is not None
        if act.error is not None:
            act.state = "failed"
            return
        act.state = "done" if act.outcome is not None and act.node.kind != "batch-scatter" else "open"
        if act.outcome is not None:
            act.ended = act.began + act.outcome.ms
            self.context.update(act.outcome.writes)
        self.taken.extend(Taken(taken.edge, taken.by, taken.value, self.moment) for taken in edges)

    def end(self, act: Activation, output: object = UNDEFINED, action: str | None = None) -> None:
        """Answer an open wait, or let an open sleep fire."""
        act.outcome = Outcome(act.value if act.node.kind == "sleep" else output, action)
        self._finish(act)

    def _finish(self, act: Activation) -> None:
        catch_error = act.view.catch_error
        act.view = self.view()
        act.view.catch_error = catch_error
        edges = self._edges(act)
        self.moment += 1
        self._settle(act, edges)

    def _edges(self, act: Activation) -> list[Taken]:
        """Route a finished activation: the edges it takes, with what they carry."""
        if act.outcome is None or act.error is not None:
            return []
        view = act.view
        chance = self.setting.chance
        if chance is not None and act.state == "running" and chance.random() < 0.5:
            view = self.view()
            view.catch_error = act.view.catch_error
        view = View({**view.context, **act.outcome.writes}, dict(view.outputs), dict(view.inputs), view.catch_error)
        view.outputs[act.node.id] = act.outcome.output
        result: dict[str, object] = {"output": act.outcome.output}
        if act.outcome.action is not None:
            result["action"] = act.outcome.action
        known = names(view, {"result": result})
        edges = [edge for edge in self.graph.edges if edge.source in _lineage(act)]
        holds = {edge.index: edge.condition is None or truthy(evaluate(edge.condition, known)) for edge in edges}
        chosen: list[Edge] = []
        if act.node.kind == CONTROLLER:
            chosen = [edge for edge in edges if edge.condition is not None and holds[edge.index]]
        if not chosen and act.outcome.action:
            chosen = [edge for edge in edges if edge.action == act.outcome.action and holds[edge.index]]
        if not chosen:
            chosen = [edge for edge in edges if edge.action is None and holds[edge.index]]
        return [Taken(edge, act, self._carry(edge, act.outcome.output, view), 0) for edge in chosen]

    def _carry(self, edge: Edge, output: object, view: View) -> object:
        if edge.transform is None:
            return output
        inputs = self.graph.nodes[edge.target].inputs
        if isinstance(inputs, str) and inputs and inputs != edge.source:
            key = inputs if inputs.startswith("_") else f"_outputs.{inputs}"
            if view.has(key):
                output = view.read(key)
        return evaluate(edge.transform, only({"input": output, "context": view.whole()}))

    # -- sub-flows -----------------------------------------------------------------------------------------------

    def _child(self, act: Activation) -> Run:
        name = act.node.params.get("blueprintId")
        if not isinstance(name, str) or name not in self.setting.blueprints:
            raise NodeError("there is no such blueprint", fatal=True)
        wanted = act.node.params.get("inputs")
        if not isinstance(wanted, dict):
            return Run(self.setting, name, {}, act.value)
        context: dict[str, object] = {}
        for inner, outer in wanted.items():
            value = act.view.read(outer)
            context[inner] = act.view.read(f"_outputs.{outer}") if value is UNDEFINED else value
        return Run(self.setting, name, context)

    def _end_child(self, act: Activation) -> None:
        child = act.child
        if child is None:
            return
        duration = max((below.ended for below in child.activations), default=0.0)
        limit = act.node.config.get("timeout")
        late = is_number(limit) and duration > as_number(limit)
        if late or child.status() != "completed":
            if act.attempt < int(as_number(act.node.config.get("maxRetries", 1))):
                act.attempt += 1
                act.child = self._child(act)
                return
            act.error = NodeError("the sub-flow did not complete")
        else:
            act.outcome = child.result(act.node.params.get("outputs"))
            act.outcome.ms = duration
        self._finish(act)

    def result(self, wanted: object) -> Outcome:
        """What a completed child run gives its node: mapped values, or the outputs of its terminal nodes."""
        outputs = self.outputs()
        if isinstance(wanted, dict):
            mapped: dict[str, object] = {}
            for outer, inner in wanted.items():
                value = outputs.get(inner)
                # A node's name resolves to its output where the context has no such key.
                plain = self.context.get(inner, outputs.get(inner, UNDEFINED))
                mapped[outer] = plain if is_nothing(value) else value
            kept = {key: value for key, value in mapped.items() if value is not UNDEFINED}
            return Outcome(kept, None, dict(kept))
        ends = self.graph.terminals()
        if len(ends) == 1:
            return Outcome(outputs.get(ends[0], UNDEFINED))
        return Outcome({name: outputs[name] for name in ends if name in outputs})

    # -- batches -------------------------------------------------------------------------------------------------

    def _batch_moves(self, act: Activation) -> list[Move]:
        size = int(as_number(act.node.params.get("chunkSize", 0))) or max(len(act.items), 1)
        for first in range(0, len(act.items), size):
            chunk = range(first, min(first + size, len(act.items)))
            rest = [index for index in chunk if index not in act.results and index not in act.broken]
            if rest:
                return [_bind(self._work, (act, index)) for index in rest]
            if act.broken:
                break
        return [_bind(self._end_batch, act)]

    def _work(self, which: tuple[Activation, int]) -> None:
        act, index = which
        self.workers += 1
        kind = str(act.node.params.get("workerUsesKey"))
        try:
            outcome = perform(kind, act.items[index], {}, self.view().read, 1)
        except NodeError:
            act.broken.add(index)
        else:
            act.results[index] = outcome.output
            self.context.update(outcome.writes)
        self.moment += 1

    def _end_batch(self, act: Activation) -> None:
        act.state = "done"
        self.moment += 1

    # -- from outside --------------------------------------------------------------------------------------------

    def answer(self, path: list[str]) -> tuple[Run, Activation] | None:
        """Find the open wait or sleep at a path such as `a/b`.

        Raises:
            CaseError: Several fit.
        """
        opened = [act for act in self.activations if act.state == "open" and act.node.id == path[0]]
        if len(opened) > 1:
            raise CaseError(f"several activations of {path[0]} are open")
        if not opened:
            return None
        act = opened[0]
        if len(path) == 1:
            return (self, act) if act.child is None else None
        return act.child.answer(path[1:]) if act.child is not None else None

    def cancel(self) -> None:
        """Cancel this run and everything below it."""
        for run in self.tree():
            run.cancelled = True


def _bind(action: Callable[..., None], argument: object) -> Move:
    return lambda: action(argument)


def _output(act: Activation) -> object:
    return act.outcome.output if act.outcome is not None else UNDEFINED


def _lineage(act: Activation) -> set[str]:
    """The nodes whose outgoing edges an activation follows: its own and those that it inherited."""
    return {act.node.id} | (_lineage(act.origin) if act.origin is not None else set())
