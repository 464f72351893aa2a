"""Putting a message with the dead letters, whatever the message is like."""

from __future__ import annotations

import logging
from dataclasses import replace

from flowcraft_dagster.errors import SizeLimitExceeded
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.queue import DeadLetters
from flowcraft_dagster.ports.records import DeadLetter
from flowcraft_dagster.runtime.backoff import Patience

logger = logging.getLogger(__name__)
KEPT_BYTES = 64 * 1024
"""What is kept of a message that is too large to be kept whole."""
PAUSE_SECONDS = 30.0


async def keep_letter(letters: DeadLetters, letter: DeadLetter, patience: Patience, clock: Clock) -> None:
    """Return once a letter is kept.

    One that is too large as a whole is kept in part, with a note of it. One that cannot be kept at all is tried again
    and again, and its message stays unsettled: it is neither dropped nor in the way of others.

    Args:
        letters: where.
        letter: what.
        patience: repeats calls to a server that is away.
        clock: for the pauses.
    """
    while True:
        try:
            await patience.insist("dead letter", lambda kept=letter: letters.add_letter(kept), "queue")  # type: ignore[misc]
            return
        except Exception as error:
            smaller = _shrink(letter, error) if isinstance(error, SizeLimitExceeded) else None
            if smaller is None:
                logger.exception("message %s cannot be kept as a dead letter; trying again", letter.letter_id)
                await clock.sleep(PAUSE_SECONDS)
            else:
                letter = smaller


def _shrink(letter: DeadLetter, error: SizeLimitExceeded) -> DeadLetter | None:
    """The letter with less in it, and a note of what is missing; None when there is nothing to leave out."""
    if len(letter.value) > KEPT_BYTES:
        note = f"only the first {KEPT_BYTES} of {len(letter.value)} bytes are kept, since {error}"
        return replace(letter, value=letter.value[:KEPT_BYTES], reason=f"{letter.reason}; {note}")
    if letter.headers:
        return replace(letter, headers={}, reason=f"{letter.reason}; its headers are left out, since {error}")
    return None
