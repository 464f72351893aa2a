"""The shipped posts, and how well the offline detectors decide on them."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from examples.moderation import evaluate as evaluation
from examples.moderation import make_posts
from examples.moderation.evaluate import LABELS, Evaluation, decide_post, evaluate, read_posts
from examples.moderation.make_posts import DEFAULT_SEED, POSTS, write_posts
from examples.moderation.rule_model import RuleModel

# What holds: all misses are posts of the kind "hard", which are there to be missed.
REQUIRED_ACCURACY = 0.95


def test_the_file_is_what_the_script_writes() -> None:
    assert list(read_posts(POSTS)) == [asdict(post) for post in write_posts(DEFAULT_SEED)]


def test_posts_are_many_and_varied() -> None:
    posts = list(read_posts(POSTS))
    labels = Counter(post["expected"] for post in posts)
    assert 280 <= len(posts) <= 330
    assert set(labels) == set(LABELS)
    assert min(labels.values()) >= 40
    assert len({post["userPost"] for post in posts}) == len(posts)
    assert len({post["lang"] for post in posts}) >= 12
    assert len({post["kind"] for post in posts}) >= 14
    assert len({post["userId"] for post in posts}) == len(posts)


async def test_offline_accuracy_on_the_shipped_posts() -> None:
    result = await evaluate(RuleModel(), read_posts(POSTS))
    assert result.accuracy >= REQUIRED_ACCURACY, result.format_table()
    assert {miss["kind"] for miss in result.misses} <= {"hard"}


@pytest.mark.parametrize("seed", [1, 2, 4])
async def test_offline_accuracy_on_other_combinations(seed: int) -> None:
    result = await evaluate(RuleModel(), [asdict(post) for post in write_posts(seed)])
    assert result.accuracy >= REQUIRED_ACCURACY, result.format_table()


async def test_a_model_that_names_no_action_is_shown_as_such() -> None:
    class Rambler:
        async def complete(self, prompt: str) -> str:
            return "I am not sure"

    assert await decide_post(Rambler(), "hello") == "I am not sure"
    result = await evaluate(Rambler(), [{"userPost": "hello", "expected": "approve"}])
    assert result.accuracy == 0
    assert "I am not sur" in result.format_table().splitlines()[0]


def test_confusion_table_counts_rows_and_recall() -> None:
    counts = Counter({("ban", "ban"): 3, ("ban", "approve"): 1, ("approve", "approve"): 4})
    lines = Evaluation(counts, []).format_table().splitlines()
    assert lines[1].split() == ["ban", "3", "0", "0", "1", "75.0%"]
    assert lines[2].split() == ["redact", "0", "0", "0", "0", "-"]
    assert lines[-1] == "accuracy 87.5% of 8 posts"


def test_both_scripts_work_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLOWCRAFT_MODEL_URL", raising=False)
    path = tmp_path / "posts.jsonl"
    monkeypatch.setattr(sys, "argv", ["make_posts", "--seed", "5", "--out", str(path)])
    make_posts.main()
    monkeypatch.setattr(sys, "argv", ["evaluate", str(path), "--misses"])
    evaluation.main()
    made, header, *rows = capsys.readouterr().out.splitlines()
    assert made == f"{len(list(read_posts(path)))} posts written to {path}"
    assert header.split()[-5:] == [*LABELS, "recall"]
    assert any(row.startswith("accuracy 9") for row in rows)
    assert any(row.startswith("ban -> approve: ") for row in rows)
