"""What librdkafka says, without its repetitions: a broker that is away would fill a log in minutes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

logger = logging.getLogger(__name__)

REPEAT_SECONDS = 60.0
_VARYING = re.compile(r" \(after [^;]*\)|\d+")
# What clients report as errors too, and a step of starting that is tried again by itself.
_ECHOES = ("FAIL ", "ERROR ", "GETPID ")


class RepetitionFilter(logging.Filter):
    """Lets a message through once a minute, whatever numbers it contains.

    Args:
        seconds: how long the same message is held back.
        clock: seconds that never go back.
    """

    def __init__(self, seconds: float = REPEAT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._heard: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is news."""
        shape = _VARYING.sub("#", record.getMessage())
        now = self._clock()
        heard = self._heard.get(shape)
        if heard is not None and now - heard < self._seconds:
            return False
        if len(self._heard) > 200:
            self._heard.clear()
        self._heard[shape] = now
        return True


def is_no_echo(record: logging.LogRecord) -> bool:
    """Whether a line of a client's own log says what ``report_error`` does not say anyway."""
    return not record.getMessage().startswith(_ECHOES)


logger.addFilter(RepetitionFilter())
# For the clients' own log.
client_logger = logger.getChild("client")
client_logger.addFilter(is_no_echo)
client_logger.addFilter(RepetitionFilter())


def is_fatal(error: Any) -> bool:
    """Whether the client that reports an error can do nothing more."""
    return bool(error.fatal()) or error.code() in {KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID}


def report_error(error: Any, advice: str | None = None) -> None:
    """Log an error that concerns a whole client and not one request; librdkafka's ``error_cb``.

    Args:
        error: librdkafka's.
        advice: what to do; a sentence.
    """
    if is_fatal(error):
        logger.error("librdkafka: %s", error.str())
    else:
        logger.warning("librdkafka: %s; it keeps trying%s", error.str().rstrip("."), f". {advice}" if advice else "")
