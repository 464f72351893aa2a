"""What the administrative client makes of answers that pass by themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError

from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.errors import QueueUnavailable


class Electing(KafkaAdmin):
    """A cluster that answers with ``code`` at first."""

    def __init__(self, code: int, refusals: int) -> None:
        super().__init__(KafkaSettings(request_seconds=1.0))
        self.code = code
        self.refusals = refusals
        self.asked = 0

    async def _ask_offsets(self, name: str, numbers: list[int], spec: Any) -> dict[int, int]:
        self.asked += 1
        if self.asked <= self.refusals:
            raise QueueUnavailable("refused", queue=name, code=self.code)
        return dict.fromkeys(numbers, 7)


@pytest.mark.parametrize("code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE])
def test_offsets_are_asked_for_again_while_a_leader_is_chosen(code: int) -> None:
    admin = Electing(code, refusals=2)
    assert asyncio.run(admin.read_ends("jobs", [0, 1])) == {0: (7, 7), 1: (7, 7)}
    assert admin.asked > 2


def test_another_refusal_is_final() -> None:
    admin = Electing(KafkaError.UNKNOWN_TOPIC_OR_PART, refusals=99)
    with pytest.raises(QueueUnavailable):
        asyncio.run(admin.read_ends("jobs", [0]))
    assert admin.asked <= 2
