"""A search for a story that breaks a promise: what befalls whom, where, in which order, on which backend.

Every point of the commit protocol meets every fate with every workload; beyond that, Hypothesis draws stories of
several misfortunes and shrinks what it finds. More of them: ``FLOWCRAFT_SEARCH_EXAMPLES=5000 pytest tests/simulation``.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowcraft_dagster.runtime.faults import FaultPoint
from flowcraft_dagster.testing.simulation import Weather
from tests.simulation.searching import BACKENDS, BAD_MESSAGES, FATES, Happening, Story, count_passings
from tests.simulation.workloads import WORKLOADS

EXAMPLES = os.environ.get("FLOWCRAFT_SEARCH_EXAMPLES")

happenings = st.builds(
    Happening,
    st.sampled_from(list(FaultPoint)),
    st.integers(1, 4),
    st.sampled_from(FATES),
    st.sampled_from([0.5, 8.0, 20.0, 45.0]),
)
weathers = st.builds(
    Weather,
    delay_seconds=st.sampled_from([0.0, 0.05, 1.0]),
    failure_chance=st.sampled_from([0.0, 0.1, 0.3]),
    duplicate_chance=st.sampled_from([0.0, 0.3, 1.0]),
    reorder_chance=st.sampled_from([0.0, 1.0]),
)
outages = st.tuples(
    st.floats(0, 40, allow_nan=False, width=16),
    st.sampled_from([1.0, 6.0, 30.0, 120.0]),
    st.sampled_from(["store", "queue", "both"]),
)
stories = st.builds(
    Story,
    st.sampled_from(sorted(WORKLOADS)),
    st.lists(happenings, max_size=4).map(tuple),
    st.sampled_from(BACKENDS),
    st.integers(1, 3),
    weathers,
    st.lists(outages, max_size=2).map(lambda listed: tuple(sorted(listed))),
    st.lists(st.integers(0, len(BAD_MESSAGES) - 1), max_size=3, unique=True).map(tuple),
    seed=st.integers(0, 1000),
)
# Five runs for a worker that takes one at a time: were all messages sent twice, each of them taking seconds, the last
# of them would be settled after days.
breezes = st.builds(
    Weather,
    delay_seconds=st.sampled_from([0.0, 0.05, 0.3]),
    failure_chance=st.sampled_from([0.0, 0.1, 0.3]),
    duplicate_chance=st.sampled_from([0.0, 0.3]),
    reorder_chance=st.sampled_from([0.0, 1.0]),
)
crowds = st.builds(
    Story,
    st.sampled_from(sorted(WORKLOADS)),
    st.lists(happenings, max_size=2).map(tuple),
    st.sampled_from(BACKENDS),
    st.integers(1, 3),
    breezes,
    st.lists(outages, max_size=1).map(tuple),
    runs=st.sampled_from([1, 5]),
    options=st.fixed_dictionaries(
        {},
        optional={
            "max_lanes": st.sampled_from([1, 2]),
            "concurrency": st.sampled_from([1, 2]),
            "run_concurrency": st.just(1),
            "durability": st.just("segment"),
            "anchor_seconds": st.just(2.0),
        },
    ).map(lambda chosen: tuple(sorted(chosen.items()))),
    skew=st.sampled_from([0.0, 4.0]),
    reconciles=st.booleans(),
    steals=st.booleans(),
    seed=st.integers(0, 1000),
).filter(
    # Five times twenty seconds one after another, or two by two, are more than the minute that the sub-flow has.
    lambda story: story.workload != "limited subflow" or story.runs == 1 or "concurrency" not in dict(story.options)
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_nothing_happens_when_nothing_happens(workload: str, backend: str) -> None:
    assert Story(workload, backend=backend).play() == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("point", FaultPoint, ids=lambda point: point.value)
def test_every_fate_at_every_point(point: FaultPoint, fate: str, backend: str) -> None:
    met = 0
    for seed, workload in enumerate(WORKLOADS):
        for passing in range(1, min(2, count_passings(workload, backend)[point]) + 1):
            story = Story(workload, (Happening(point, passing, fate),), backend, seed=seed)
            assert story.play() == [], story
            met += 1
    assert met or point is FaultPoint.AFTER_CLAIM


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fate", FATES)
def test_every_fate_after_a_claim(fate: str, backend: str) -> None:
    # Runs are claimed only from owners that are gone.
    for seed, workload in enumerate(WORKLOADS):
        first = Happening(FaultPoint.AFTER_COMMIT, 1, "kill")
        story = Story(workload, (first, Happening(FaultPoint.AFTER_CLAIM, 1, fate)), backend, seed=seed)
        assert story.play() == [], story


@settings(
    max_examples=int(EXAMPLES or 150),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(stories)
def test_no_story_breaks_a_promise(story: Story) -> None:
    assert story.play() == []


@settings(
    max_examples=int(EXAMPLES or 60),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(crowds)
def test_no_narrow_worker_breaks_a_promise(story: Story) -> None:
    assert story.play() == []


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(sorted(WORKLOADS)), st.sampled_from(BACKENDS), st.integers(0, 50))
@example("wait", "embedded", 0)
def test_a_bad_message_is_in_nobodys_way(workload: str, backend: str, seed: int) -> None:
    everything = tuple(range(len(BAD_MESSAGES)))
    assert Story(workload, backend=backend, bad_messages=everything, seed=seed).play() == []
