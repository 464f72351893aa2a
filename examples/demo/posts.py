"""Runs over the example posts."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

from examples.moderation.evaluate import read_posts
from examples.moderation.make_posts import POSTS
from flowcraft_dagster import Client, RunQuery, StartRequest
from flowcraft_dagster.cli.progress import ProgressLine
from flowcraft_dagster.ports.records import FINAL_STATUSES

BLUEPRINT: Final = "content-moderation"
ACTIONS: Final = {"ban-user": "banned", "redact-post": "redacted", "delete-spam": "spam", "approve-post": "approved"}
"""Blueprints of the sub-flows that end a post's way, and what they mean."""

_CHUNK: Final = 25
_PATIENCE_SECONDS: Final = 300.0


class PostsError(Exception):
    """The runs stand still."""


@dataclass(frozen=True)
class Outcome:
    """What became of the posts.

    Attributes:
        statuses: how many runs ended in each status.
        actions: how many posts ended in each sub-flow, by its blueprint.
        seconds: from the first start to the last end.
    """

    statuses: Counter[str]
    actions: Counter[str]
    seconds: float

    def describe(self) -> str:
        """One line for people."""
        decided = ", ".join(f"{self.actions[blueprint]} {word}" for blueprint, word in ACTIONS.items())
        total = sum(self.statuses.values())
        text = f"{self.statuses['completed']} of {total} posts decided in {self.seconds:.1f} s: {decided}"
        return text if self.statuses["completed"] == total else f"{text}; statuses: {dict(self.statuses)}"


def load_posts(count: int | None) -> list[dict[str, Any]]:
    """Contexts for runs: the example posts, from the beginning again where more are asked for.

    Args:
        count: how many; None for each post once.
    """
    contexts = [{"userId": post["userId"], "userPost": post["userPost"]} for post in read_posts(POSTS)]
    return contexts if count is None else list(islice(cycle(contexts), count))


def run_posts(client: Client, contexts: list[dict[str, Any]]) -> Outcome:
    """Start a run for each post and follow them to their end, with a progress bar.

    Args:
        client: of an app that has the moderation blueprints; there are no other runs of theirs.
        contexts: from :func:`load_posts`.

    Raises:
        PostsError: for minutes, no run has ended.
    """
    began = moved_at = time.monotonic()
    done = 0
    with ProgressLine("posts", len(contexts)) as progress:
        for first in range(0, len(contexts), _CHUNK):
            requests = [
                StartRequest(BLUEPRINT, context, run_id=f"post-{number:05}")
                for number, context in enumerate(contexts[first : first + _CHUNK], first + 1)
            ]
            client.start_many(requests)
            done = _show(progress, client, done, len(contexts))
        while done < len(contexts):
            before, done = done, _show(progress, client, done, len(contexts))
            now = time.monotonic()
            moved_at = now if done > before else moved_at
            if now - moved_at > _PATIENCE_SECONDS:
                raise PostsError(f"{done} of {len(contexts)} runs have ended, and no other for {now - moved_at:.0f} s")
            time.sleep(0.1)
    seconds = time.monotonic() - began
    limit = len(contexts) + 1
    ended = client.runs(RunQuery(blueprint_id=BLUEPRINT, limit=limit))
    actions = {
        blueprint: len(client.runs(RunQuery(blueprint_id=blueprint, with_children=True, limit=limit)))
        for blueprint in ACTIONS
    }
    return Outcome(Counter(header.status for header in ended), Counter(actions), seconds)


def _show(progress: ProgressLine, client: Client, shown: int, total: int) -> int:
    query = RunQuery(statuses=frozenset(FINAL_STATUSES), blueprint_id=BLUEPRINT, limit=total)
    done = len(client.runs(query))
    if done > shown:
        progress.move(amount=done - shown)
    return done
