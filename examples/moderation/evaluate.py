"""How well moderation decides on labelled posts: ``python -m examples.moderation.evaluate [FILE] [--misses]``.

Uses the prompts of ``blueprints/content-moderation.json`` and the model that the environment asks for, so a language
model can be measured like the offline detectors.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from examples.moderation.make_posts import POSTS
from examples.moderation.model import Model, choose_model
from examples.moderation.template import fill_template

LABELS: Final = ("ban", "redact", "spam", "approve")
_ACTIONS: Final = {
    "action_ban": "ban",
    "action_redact": "redact",
    "action_delete_spam": "spam",
    "action_approve": "approve",
}
_BLUEPRINT: Final = Path(__file__).with_name("blueprints") / "content-moderation.json"
_CHECKS: Final = {"personal_data": "check_personal_data", "hate_speech": "check_hate_speech", "spam": "check_spam"}


@cache
def _load_prompts() -> dict[str, str]:
    blueprint = orjson.loads(_BLUEPRINT.read_bytes())
    return {node["id"]: node.get("params", {}).get("promptTemplate", "") for node in blueprint["nodes"]}


def read_posts(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the posts of a file of JSON lines."""
    for line in path.read_bytes().splitlines():
        if line.strip():
            yield orjson.loads(line)


async def decide_post(model: Model, text: str) -> str:
    """The action for a post: one of :data:`LABELS`, or the model's own words where they name no action."""
    prompts = _load_prompts()
    results = {
        name: await model.complete(fill_template(prompts[node], {"userPost": text})) for name, node in _CHECKS.items()
    }
    answer = await model.complete(fill_template(prompts["triage_post"], results))
    return _ACTIONS.get(answer.strip().strip("'\"`."), answer)


@dataclass(frozen=True)
class Evaluation:
    """Decisions compared with labels.

    Attributes:
        counts: number of posts by (expected, decided).
        misses: the posts decided otherwise than expected, each with ``decided`` added.
    """

    counts: Counter[tuple[str, str]]
    misses: list[dict[str, Any]]

    @property
    def accuracy(self) -> float:
        """Share of posts decided as expected, 0 to 1."""
        right = sum(count for (expected, decided), count in self.counts.items() if expected == decided)
        return right / max(sum(self.counts.values()), 1)

    def format_table(self) -> str:
        """The confusion table: a row for each label, a column for each decision."""
        others = sorted({decided for _, decided in self.counts} - set(LABELS))
        columns = (*LABELS, *others)
        lines = ["expected \\ decided" + "".join(f"{column[:12]:>13}" for column in columns) + f"{'recall':>9}"]
        for label in LABELS:
            row = [self.counts[label, column] for column in columns]
            recall = f"{self.counts[label, label] / sum(row):.1%}" if sum(row) else "-"
            lines.append(f"{label:<18}" + "".join(f"{count:>13}" for count in row) + f"{recall:>9}")
        lines.append(f"accuracy {self.accuracy:.1%} of {sum(self.counts.values())} posts")
        return "\n".join(lines)


async def evaluate(model: Model, posts: Iterable[Mapping[str, Any]]) -> Evaluation:
    """Decide on each of ``posts`` (with ``userPost`` and ``expected``) and compare."""
    counts: Counter[tuple[str, str]] = Counter()
    misses: list[dict[str, Any]] = []
    for post in posts:
        decided = await decide_post(model, post["userPost"])
        counts[post["expected"], decided] += 1
        if decided != post["expected"]:
            misses.append({**post, "decided": decided})
    return Evaluation(counts, misses)


def main() -> None:
    """Print the confusion table for the file named on the command line, by default the one that is shipped."""
    parser = argparse.ArgumentParser(description="Measure moderation on labelled posts.")
    parser.add_argument("file", nargs="?", type=Path, default=POSTS)
    parser.add_argument("--misses", action="store_true", help="also print the posts that were decided otherwise")
    arguments = parser.parse_args()
    result = asyncio.run(evaluate(choose_model(), read_posts(arguments.file)))
    print(result.format_table())
    if arguments.misses:
        for miss in result.misses:
            print(f"{miss['expected']} -> {miss['decided']}: {miss['userPost']}")


if __name__ == "__main__":
    main()
