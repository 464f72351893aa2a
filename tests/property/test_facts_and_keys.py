"""Facts survive being stored, and keys tell all activations apart."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcraft_dagster.engine.activation import Activation, escape_node_id, unescape_node_id
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.facts import (
    ChildMoved,
    Ended,
    Fact,
    NodeFailure,
    Opened,
    StatusChange,
    TakenEdge,
    decode_fact,
    encode_fact,
)
from flowcraft_dagster.engine.json_codec import decode, encode

steady = settings(
    derandomize=True, max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)

text = st.text(max_size=8)
wild_text = st.text(st.characters(exclude_categories=()), max_size=8)
numbers = st.integers(0, 10**6)
moments = st.floats(0, 2e9, allow_nan=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | wild_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(wild_text, inner, max_size=3),
    max_leaves=6,
)
stored = st.builds(lambda value: Stored(encode(value)), json_values)
maybe = st.none() | stored
node_ids = st.text(st.sampled_from("ab#@[]%./0123 é"), min_size=1, max_size=4)
edges = st.lists(
    st.builds(TakenEdge, numbers) | st.builds(lambda index, value: TakenEdge(index, True, value), numbers, maybe),
    max_size=3,
).map(tuple)
failures = st.builds(
    NodeFailure, wild_text, text, st.integers(1, 9), text, wild_text, st.booleans(), st.booleans(), moments
)


def _activations(depth: int = 2) -> st.SearchStrategy[Activation]:
    iterations = st.lists(st.integers(0, 12), max_size=2).map(tuple)
    plain = st.builds(Activation, node_ids, iterations)
    if depth == 0:
        return plain
    # The iterations of a fallback follow from what failed.
    caused = st.builds(lambda node, cause: Activation(node, (), None, cause), node_ids, _activations(depth - 1))
    whole = plain | caused
    items = st.builds(
        lambda one, item: Activation(one.node_id, one.iterations, item, one.cause), whole, st.integers(0, 12)
    )
    return whole if depth < 2 else whole | items


keys = _activations().map(lambda activation: activation.key)
facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(
        Ended,
        key=keys,
        status=st.sampled_from(["ok", "failed", "interrupted", "incomplete"]),
        attempt=st.integers(1, 9),
        started_at=moments,
        finished_at=moments,
        output=maybe,
        action=st.none() | wild_text,
        writes=st.lists(st.tuples(wild_text, maybe), max_size=3).map(tuple),
        taken=edges,
        failure=st.none() | failures,
        input=maybe,
    ),
    st.builds(
        Opened,
        key=keys,
        kind=st.sampled_from(["wait", "sleep", "webhook", "subflow", "batch-scatter", "retry"]),
        attempt=st.integers(1, 9),
        at=moments,
        details=st.dictionaries(text, st.integers(0, 9) | text, max_size=2),
        value=maybe,
        output=maybe,
        taken=edges,
    ),
    st.builds(StatusChange, st.sampled_from(["awaiting", "running", "cancelling"]), moments, numbers),
    st.builds(ChildMoved, keys, st.integers(1, 9), st.sampled_from(["awaiting", "running"]), numbers),
)


def _plain(value: Any) -> Any:
    """A fact without the identity of stored values."""
    if isinstance(value, Stored):
        return ["stored", decode(value.data)]
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return [type(value).__name__, *(_plain(getattr(value, name)) for name in value.__dataclass_fields__)]
    return value


@steady
@given(facts, st.integers(0, 3), st.integers(0, 3))
def test_a_fact_is_the_same_after_it_was_stored(fact: Fact, step: int, place: int) -> None:
    data, output = encode_fact(fact, step, place)
    again = decode_fact(fact.row_key, data, output)
    assert again[0] == (step, place)
    assert _plain(again[1]) == _plain(fact)


@steady
@given(_activations(), _activations())
def test_different_activations_have_different_keys(one: Activation, other: Activation) -> None:
    assert (one.key == other.key) == (one == other)


@steady
@given(wild_text)
def test_escaping_a_node_id_can_be_undone(node_id: str) -> None:
    escaped = escape_node_id(node_id)
    assert not set("#@[]") & set(escaped)
    assert unescape_node_id(escaped) == node_id


@steady
@given(json_values)
def test_json_survives_being_written(value: Any) -> None:
    again = decode(encode(value))
    assert encode(again) == encode(decode(encode(again)))
    if not _has_big_integer(value):
        assert again == value


def _has_big_integer(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return any(map(_has_big_integer, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and abs(value) >= 2**63
