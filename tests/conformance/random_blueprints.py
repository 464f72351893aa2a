"""Seeded random blueprints of mixed features; those whose result depends on the order of work are left out."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.conformance.building import Case, DraftError, assemble, settle
from tests.conformance.drafting import Blueprint, Rule, batch, flow, loop, node, sub
from tests.oracle.judge import awaited, differences, judge
from tests.oracle.state import CaseError

End = str

RULES = (
    Rule(
        "random",
        "Everything together: nested blocks of all kinds with stray edges, from a seed.",
        "Rules that hold alone and not together.",
    ),
)

WANTED = 150
LARGEST = 20
ORDERS = 20
MOST_ANSWERS = 12


@dataclass
class _Drawing:
    """A blueprint being drawn: every block has one entry and one exit node."""

    chance: random.Random
    depth: int
    nodes: list[dict[str, object]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    subs: dict[str, Blueprint] = field(default_factory=dict)

    def name(self, letter: str) -> str:
        return f"{letter}{len(self.nodes)}"

    def add(self, letter: str, uses: str, **rest: object) -> str:
        name = self.name(letter)
        self.nodes.append(node(name, uses, **rest))  # type: ignore[arg-type]
        return name

    def link(self, source: str, target: str, extra: str = "") -> None:
        self.lines.append(f"{source} > {target}{extra}")

    # -- blocks --------------------------------------------------------------------------------------------------

    def task(self) -> tuple[End, End]:
        chance = self.chance
        names = [str(one["id"]) for one in self.nodes] or ["none"]
        kinds: list[Callable[[], str]] = [
            lambda: self.add("a", "add", by=chance.randint(1, 9)),
            lambda: self.add("e", "echo"),
            lambda: self.add("v", "const", value=chance.randint(0, 20)),
            lambda: self.add("p", "put", key=f"k{chance.randint(0, 99)}"),
            lambda: self.add("c", "counter", key=f"n{chance.randint(0, 3)}"),
            lambda: self.add("q", "collect", ids=chance.sample(names, min(2, len(names)))),
            lambda: self.add("s", "slow", ms=chance.choice([5, 20, 40]), value=chance.randint(0, 9)),
            lambda: self.add("y", "flaky", times=1, value=chance.randint(0, 9), retries=chance.choice([2, 2, 3, 1])),
            lambda: self.add("i", "echo", inputs=chance.choice(names)),
        ]
        name = chance.choice(kinds)()
        return name, name

    def fallback(self) -> tuple[End, End]:
        spare = f"b{len(self.nodes) + 1}"
        uses = self.chance.choice(["fail", "fail", "fail", "echo", "fatal"])
        name = self.add("f", uses, fallback=spare)
        if self.chance.random() < 0.3:
            further = f"b{len(self.nodes) + 1}"
            self.nodes.append(node(spare, "fail", fallback=further))
            spare = further
        self.nodes.append(node(spare, self.chance.choice(["add", "echo"])))
        return name, name

    def wait(self) -> tuple[End, End]:
        uses = self.chance.choice(["wait", "wait", "webhook", "sleep"])
        rest: dict[str, object] = {"duration": self.chance.choice([5, 20])} if uses == "sleep" else {}
        name = self.add("w", uses, **rest)
        return name, name

    def parallel(self) -> tuple[End, End]:
        first = self.add("o", "echo")
        ends = []
        for _ in range(self.chance.randint(2, 3)):
            entry, end = self.block()
            self.link(first, entry, self.condition() if self.chance.random() < 0.25 else "")
            ends.append(end)
        join = "any" if self.chance.random() < 0.3 else None
        last = self.add("j", self.chance.choice(["collect", "echo", "const"]), join=join, value=1, ids=ends)
        self.chance.shuffle(ends)
        for end in ends:
            self.link(end, last, self.transform() if self.chance.random() < 0.3 else "")
        return first, last

    def choice(self) -> tuple[End, End]:
        first = self.add("r", "route", action=self.chance.choice(["x", "y", "z"]))
        last = self.name("m")
        self.nodes.append(node(last, "echo", join="any"))
        for action in (" [x]", " [y]", self.chance.choice(["", " [z]"])):
            entry, end = self.block()
            self.link(first, entry, action)
            self.link(end, last)
        return first, last

    def repeat(self) -> tuple[End, End]:
        key = f"l{len(self.nodes)}"
        first = self.add("g", "put", key=key, value=0)
        controller = self.name("lp")
        self.nodes.append(loop(controller, f"{key} < {self.chance.randint(1, 3)}"))
        step = self.add("t", "counter", key=key)
        entry, end = self.block()
        last = self.add("x", "echo", inputs=self.chance.choice([step, end]))
        self.link(first, controller)
        self.link(controller, step, " [continue]")
        self.link(step, entry)
        self.link(end, controller)
        self.link(controller, last, " [break]")
        return first, last

    def batch(self) -> tuple[End, End]:
        name = self.name("d")
        items = [self.chance.randint(0, 9) for _ in range(self.chance.randint(0, 4))]
        first = self.add("u", "const", value=items)
        worker = self.chance.choice(["square", "add", "echo", "square", "fail"])
        rest: dict[str, object] = {"chunkSize": self.chance.randint(1, 3)} if self.chance.random() < 0.6 else {}
        self.nodes.extend(batch(name, worker, first, **rest))
        self.link(first, f"{name}_scatter")
        self.link(f"{name}_scatter", f"{name}_gather")
        return first, f"{name}_gather"

    def child(self) -> tuple[End, End]:
        inner = _Drawing(self.chance, self.depth - 1)
        inner.chain(2)
        short = f"sub{len(self.subs)}x{self.depth}"
        name = self.name("h")
        mapped = {"map_outputs": {f"o{len(self.nodes)}": inner.nodes[-1]["id"]}} if self.chance.random() < 0.4 else {}
        self.nodes.append(sub(name, short, **mapped))
        self.subs[short] = flow(inner.nodes, *inner.lines)
        self.subs.update(inner.subs)
        return name, name

    def block(self) -> tuple[End, End]:
        simple = [self.task, self.task, self.fallback, self.wait]
        deep = [self.parallel, self.choice, self.repeat, self.batch, self.child]
        if self.depth <= 0 or len(self.nodes) > LARGEST // 2:
            return self.chance.choice(simple)()
        self.depth -= 1
        found = self.chance.choice([*simple[1:], *deep, *deep])()
        self.depth += 1
        return found

    def chain(self, length: int) -> None:
        before: str | None = None
        for _ in range(length):
            entry, end = self.block()
            if before is not None:
                self.link(before, entry, self.transform() if self.chance.random() < 0.2 else "")
            before = end

    def stray_edges(self) -> None:
        """Add edges that no block has: forwards in the order of nodes, into whatever is there."""
        names = [str(one["id"]) for one in self.nodes]
        for _ in range(self.chance.randint(0, 2)):
            first, second = sorted(self.chance.sample(range(len(names)), 2)) if len(names) > 1 else (0, 0)
            if first != second and not names[second].startswith(("b", "g")):
                self.link(names[first], names[second], self.chance.choice(["", self.condition()]))

    def condition(self) -> str:
        return self.chance.choice(
            [" {result.output}", " {result.output % 2 === 1}", " {result.output > 4}", " {1 === 2}"]
        )

    def transform(self) -> str:
        return self.chance.choice([" | input + 1", " | input * 2", " | input || 3", " | context.n0"])


def cases() -> list[Case]:
    """Draw until there are enough cases with one well-defined result each."""
    found: list[Case] = []
    seed = 0
    while len(found) < WANTED:
        seed += 1
        case = _draw(seed)
        if case is not None:
            found.append(case)
    return found


def _draw(seed: int) -> Case | None:
    chance = random.Random(f"blueprint {seed}")
    drawing = _Drawing(chance, depth=3)
    drawing.chain(chance.randint(2, 4))
    drawing.stray_edges()
    if not 4 <= len(drawing.nodes) <= LARGEST or len(drawing.lines) < 4:
        return None
    blueprints = {"main": flow(drawing.nodes, *dict.fromkeys(drawing.lines)), **drawing.subs}
    case = assemble(f"random-{seed}", "random", blueprints, {}, None)
    return _with_expectations(case, chance)


def _with_expectations(case: Case, chance: random.Random) -> Case | None:
    resume: list[dict[str, object]] = []
    try:
        while len(resume) <= MOST_ANSWERS:
            opened = awaited({**case, "resume": resume})
            if not opened:
                return _settled({**case, "resume": resume} if resume else case)
            path, kind = chance.choice(opened)
            cancel: dict[str, object] = {"cancel": "drawn"}
            answer: dict[str, object] = {"node": path, "output": chance.randint(0, 9)}
            timer: dict[str, object] = {"node": path, "timer": True}
            # A sleep might fire before the cancellation comes.
            stops = chance.random() < 0.05 and '"sleep"' not in json.dumps(case)
            resume.append(cancel if stops else timer if kind == "sleep" else answer)
    except CaseError:
        return None
    return None


def _settled(case: Case) -> Case | None:
    try:
        whole = settle(case, judge(case))
        wrong = any(differences(whole, judge(case, chance=random.Random(seed))) for seed in range(100, 100 + ORDERS))
    except (CaseError, DraftError):
        return None
    return None if wrong else whole
