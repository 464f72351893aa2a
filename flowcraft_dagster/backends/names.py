"""Which names may reach a statement, a topic or a configuration."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_CQL_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_OPTION_NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z0-9]+)*")


def check_cql_name(value: str) -> str:
    """Accept a keyspace, table or data centre name that needs no quoting.

    Args:
        value: 1 to 48 lower-case letters, digits and underscores, a letter first.

    Raises:
        ValueError: the name could change the meaning of a statement.

    Example:
        >>> check_cql_name("flowcraft_ks")
        'flowcraft_ks'
    """
    if not _CQL_NAME.fullmatch(value):
        raise ValueError("use 1 to 48 lower-case letters, digits and underscores, a letter first")
    return value


def check_topic_name(value: str) -> str:
    """Accept a Kafka topic or group name.

    Args:
        value: 1 to 249 letters, digits, dots, underscores and hyphens, not ``.`` or ``..``.

    Raises:
        ValueError: the broker would refuse the name.
    """
    if not _TOPIC_NAME.fullmatch(value) or value in {".", ".."}:
        raise ValueError("use 1 to 249 letters, digits, dots, underscores and hyphens")
    return value


def check_option_name(value: str) -> str:
    """Accept the name of a librdkafka option, for example ``socket.keepalive.enable``.

    Raises:
        ValueError: no option is spelled like this.
    """
    if not _OPTION_NAME.fullmatch(value):
        raise ValueError(f"'{value}' is no option name; write lower-case words joined by dots")
    return value


CqlName = Annotated[str, AfterValidator(check_cql_name)]
TopicName = Annotated[str, AfterValidator(check_topic_name)]
OptionName = Annotated[str, AfterValidator(check_option_name)]
