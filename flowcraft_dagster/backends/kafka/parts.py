"""Dead letters that are too large for one message.

A message may be as large as its topic allows, and its letter carries the reason and more besides. So a large one is
kept as several records, one after the other; the last of them is the letter, and says how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowcraft_dagster.backends.kafka.messages import encode_headers
from flowcraft_dagster.backends.kafka.producer import Record

PART_BYTES = 500_000
"""Half of what brokers take by default: room for the headers of whoever sent the message."""

PART_OF = "flowcraft-part-of"
PART = "flowcraft-part"
PARTS = "flowcraft-parts"
KEY_BYTES = "flowcraft-key-bytes"


def split_letter(
    letter_id: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...], partition: int
) -> list[Record]:
    """The records of a letter, one where it is small enough.

    Args:
        letter_id: whose parts they are.
        key: the original one.
        value: the original one.
        headers: of the letter.
        partition: where all of them go.
    """
    if len(key) + len(value) <= PART_BYTES:
        return [Record(key, value, headers, partition)]
    whole = key + value
    pieces = [whole[start : start + PART_BYTES] for start in range(0, len(whole), PART_BYTES)]
    marks = {PARTS: str(len(pieces)), KEY_BYTES: str(len(key))}
    return [
        *(
            Record(None, piece, encode_headers({PART_OF: letter_id, PART: str(number)}), partition)
            for number, piece in enumerate(pieces[:-1], 1)
        ),
        Record(None, pieces[-1], (*headers, *encode_headers(marks)), partition),
    ]


@dataclass
class PartedLetter:
    """A letter whose parts are being gathered, the last one first.

    Attributes:
        headers: those of the letter.
        pieces: what was found, by number.
    """

    headers: Mapping[str, str]
    pieces: dict[int, bytes] = field(default_factory=dict)

    def add(self, number: int, piece: bytes) -> bool:
        """Take a part; whether all are there now."""
        self.pieces.setdefault(number, piece)
        return len(self.pieces) == self.count

    @property
    def count(self) -> int:
        """How many parts there are."""
        return int(self.headers[PARTS])

    def join(self) -> tuple[bytes, bytes]:
        """Key and value."""
        whole = b"".join(piece for _, piece in sorted(self.pieces.items()))
        key_bytes = int(self.headers[KEY_BYTES])
        return whole[:key_bytes], whole[key_bytes:]
