"""What the detectors cost: on ordinary posts, and on text made to be slow."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from examples.moderation.detectors.hate import rate_hate_speech
from examples.moderation.detectors.personal_data import redact
from examples.moderation.detectors.spam import is_spam
from examples.moderation.evaluate import read_posts
from examples.moderation.make_posts import POSTS

PIECES = (
    "1", "1 ", "Aa ", "1 Aa ", "a@", "a.", "01 ", "+1", "a at ", "DE89 ", "Rua Aa 1 ", "!", "http://", "$1,1", "a1",
    "people from that ", "migrants are all ", "buy now ", "12 Aa Aa Street, ",
)  # fmt: skip


def measure(work: Callable[[], object]) -> float:
    # Time of this process: other work on the machine does not count.
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("detect", [redact, rate_hate_speech, is_spam])
def test_hostile_text_takes_time_in_proportion_to_its_length(detect: Callable[[str], object], piece: str) -> None:
    detect("Warm up at 12 Maple Street, +1 212 555 0123, jane@example.com")
    short, long = ((piece * length)[:length] for length in (2_000, 16_000))
    # A quadratic pattern would take 64 times as long for eight times the text.
    assert measure(lambda: detect(long)) < max(32 * measure(lambda: detect(short)), 0.5)


@pytest.mark.parametrize("detect", [redact, rate_hate_speech, is_spam])
def test_an_ordinary_post_takes_about_a_millisecond_at_most(detect: Callable[[str], object]) -> None:
    posts = [post["userPost"] for post in read_posts(POSTS)]

    def run() -> None:
        for post in posts:
            detect(post)

    run()
    # On average 0.05 to 0.3 ms where this was written; the bound leaves room for slow machines.
    assert min(measure(run) for _ in range(3)) / len(posts) < 0.002
