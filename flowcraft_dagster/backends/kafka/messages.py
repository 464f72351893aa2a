"""Kafka messages as the records of the ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcraft_dagster.backends.kafka.producer import Record
from flowcraft_dagster.ports.records import Message


def decode_text(data: bytes | None) -> str:
    """Bytes as text from which ``encode_text`` makes the same bytes again; empty for None."""
    return "" if data is None else data.decode("utf-8", "surrogateescape")


def encode_text(text: str) -> bytes:
    """Text as bytes, also text that ``decode_text`` made of bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def decode_headers(headers: Any) -> dict[str, str]:
    """Headers by name; of two with the same name the last."""
    return {name: decode_text(value) for name, value in headers or ()}


def encode_headers(headers: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    """Headers as Kafka takes them."""
    return tuple((name, encode_text(value)) for name, value in headers.items())


def decode_message(message: Any) -> Message:
    """A received message, whatever is in it."""
    headers = message.headers()
    return Message(decode_text(message.key()), message.value() or b"", decode_headers(headers) if headers else {})


def encode_message(message: Message) -> Record:
    """A message as it is sent."""
    return Record(encode_text(message.key), message.value, encode_headers(message.headers))
