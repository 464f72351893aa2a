"""Reading one node or one edge of a blueprint document, and what the built-in kinds demand of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowcraft_dagster.blueprint.fields import Place, describe, shorten
from flowcraft_dagster.blueprint.model import BUILT_IN_KINDS, EdgeSpec, JoinStrategy, NodeConfig, NodeSpec

MAX_MILLISECONDS: Final = 10 * 365 * 86_400_000
"""Ten years: the longest delay or time limit, well inside what clocks and timers can count."""

MAX_COUNT: Final = 2**31 - 1
"""The most attempts of a node and items of a chunk."""


def read_node(place: Place, index: int, document: object) -> NodeSpec | None:
    """Read a node; what is wrong goes to ``place``. None when it has no usable id.

    Args:
        place: the blueprint.
        index: position among the nodes, for naming a node without an id.
        document: the node's JSON form. Unknown fields are dropped.
    """
    here = place.at(prefix=f"nodes[{index}].")
    if not isinstance(document, Mapping):
        place.refuse(f"nodes[{index}]", f"must be an object, not {describe(document)}")
        return None
    node_id = here.read_name(document, "id")
    if node_id is None:
        return None
    here = place.at(node_id=node_id)
    uses = here.read_name(document, "uses") or ""
    params = here.read_object(document, "params")
    kind = BUILT_IN_KINDS.get(uses)
    if kind is not None:
        _check_params(here, kind, params)
    return NodeSpec(
        id=node_id,
        uses=uses,
        params=params,
        inputs=_read_inputs(here, document),
        config=_read_config(here, document),
    )


def read_edge(place: Place, index: int, document: object) -> EdgeSpec | None:
    """Read an edge; what is wrong goes to ``place``. None when it lacks an end.

    An empty ``action`` or ``condition`` counts as absent, an empty ``transform`` as present.
    """
    here = place.at(prefix=f"edges[{index}].")
    if not isinstance(document, Mapping):
        place.refuse(f"edges[{index}]", f"must be an object, not {describe(document)}")
        return None
    source, target = here.read_name(document, "source"), here.read_name(document, "target")
    if source is None or target is None:
        return None
    here = place.at(edge=name_edge(source, target), prefix=f"edges[{index}].")
    return EdgeSpec(
        source=source,
        target=target,
        action=here.read_text(document, "action") or None,
        condition=here.read_expression(document, "condition") or None,
        transform=here.read_expression(document, "transform"),
    )


def name_edge(source: str, target: str) -> str:
    """How errors and lint messages name an edge."""
    return f"{shorten(source)} -> {shorten(target)}"


def _read_inputs(place: Place, document: Mapping[str, object]) -> str | dict[str, str] | None:
    value = document.get("inputs")
    if value is None or isinstance(value, str):
        return place.read_text(document, "inputs") or None
    if not isinstance(value, Mapping):
        place.refuse("inputs", f"must be text or an object of texts, not {describe(value)}")
        return None
    return place.read_names(document, "inputs", "inputs")


def _read_config(place: Place, document: Mapping[str, object]) -> NodeConfig:
    config = document.get("config")
    if config is None:
        return NodeConfig()
    if not isinstance(config, Mapping):
        place.refuse("config", f"must be an object, not {describe(config)}")
        return NodeConfig()

    def milliseconds(name: str) -> float | None:
        return place.read_number(config, name, f"config.{name}", most=MAX_MILLISECONDS)

    retries = place.read_integer(config, "maxRetries", "config.maxRetries", least=-MAX_COUNT, most=MAX_COUNT)
    backoff = place.read_number(config, "retryBackoff", "config.retryBackoff", most=1e6)
    return NodeConfig(
        max_retries=1 if retries is None else retries,
        retry_delay=milliseconds("retryDelay") or 0,
        retry_backoff=1 if backoff is None else backoff,
        retry_max_delay=milliseconds("retryMaxDelay"),
        # JavaScript takes 0 for "not set"; a limit of no time at all would make no sense either.
        timeout=milliseconds("timeout") or None,
        fallback=place.read_text(config, "fallback", "config.fallback") or None,
        join_strategy=_read_join_strategy(place, config),
    )


def _read_join_strategy(place: Place, config: Mapping[str, object]) -> JoinStrategy:
    value = config.get("joinStrategy")
    if value is None or value == "all":
        return "all"
    if value == "any":
        return "any"
    place.refuse("config.joinStrategy", "must be 'all' or 'any'")
    return "all"


def _check_params(place: Place, kind: str, params: dict[str, Any]) -> None:
    if kind == "loop-controller":
        place.read_expression(params, "condition", "params.condition")
    elif kind == "batch-scatter":
        place.read_name(params, "workerUsesKey", "params.workerUsesKey")
        place.read_name(params, "gatherNodeId", "params.gatherNodeId")
        place.read_text(params, "outputKey", "params.outputKey")
        place.read_integer(params, "chunkSize", "params.chunkSize", least=1, most=MAX_COUNT)
    elif kind == "batch-gather":
        place.read_text(params, "gatherNodeId", "params.gatherNodeId")
        place.read_text(params, "outputKey", "params.outputKey")
    elif kind == "subflow":
        if "blueprintId" in params:
            params["blueprintId"] = number_as_text(params["blueprintId"])
        place.read_name(params, "blueprintId", "params.blueprintId")
        place.read_names(params, "inputs", "params.inputs")
        place.read_names(params, "outputs", "params.outputs")


def number_as_text(value: object) -> object:
    """A number as text, whole ones without a point, since ids such as 401 are easily written as numbers.

    Anything else is returned unchanged, also numbers that a double does not hold exactly.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 2**53:
        return value
    return str(int(value)) if value == int(value) else str(value)
