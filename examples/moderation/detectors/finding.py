"""A place in a text that a detector has marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A marked span of a text.

    Attributes:
        kind: what was found, such as ``email`` or ``phone``.
        start: index of the first character.
        end: index after the last character.
    """

    kind: str
    start: int
    end: int


def drop_nested(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out findings that lie inside another one, and sort by place.

    Args:
        findings: the more reliable detectors first, since the first of two equal spans stays.
    """
    kept: list[Finding] = []
    # With wider spans first, a span is inside an earlier one exactly when it ends no later than all of them.
    for finding in sorted(findings, key=lambda item: (item.start, -item.end)):
        if not kept or finding.end > kept[-1].end:
            kept.append(finding)
    return kept


def merge_spans(findings: Iterable[Finding]) -> Iterator[tuple[int, int]]:
    """The spans covered by ``findings`` in order, overlapping ones joined."""
    current: tuple[int, int] | None = None
    for finding in sorted(findings, key=lambda item: item.start):
        if current is not None and finding.start < current[1]:
            current = (current[0], max(current[1], finding.end))
            continue
        if current is not None:
            yield current
        current = (finding.start, finding.end)
    if current is not None:
        yield current
