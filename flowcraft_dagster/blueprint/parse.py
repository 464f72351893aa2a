"""From JSON to a checked :class:`Blueprint`: documents, files and folders.

The JSON form is Flowcraft's. ``nodes`` and ``edges`` may be arrays or objects (then their values count, in
JavaScript's key order); unknown fields are dropped; null counts as absent. What is refused, and why, is said by
:class:`BlueprintError` with blueprint, node or edge, field and reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from flowcraft_dagster.blueprint.elements import name_edge, number_as_text, read_edge, read_node
from flowcraft_dagster.blueprint.fields import CheckExpression, Place, describe, shorten
from flowcraft_dagster.blueprint.model import Blueprint, EdgeSpec, NodeSpec
from flowcraft_dagster.errors import BlueprintError, BlueprintUnreadable, SizeLimitExceeded

MAX_NODES: Final = 10_000
MAX_EDGES: Final = 100_000
MAX_FILE_BYTES: Final = 10 * 1024 * 1024
"""Default limit of a blueprint file: 10 MiB."""


def parse_blueprint(
    document: object, *, default_id: str | None = None, check_expression: CheckExpression | None = None
) -> Blueprint:
    """Read a blueprint from its JSON form, already decoded.

    Args:
        document: the JSON object. It is copied; later changes to it are not seen.
        default_id: the id where the document has none.
        check_expression: parses conditions and transforms and raises ExpressionError; None leaves them unchecked.

    Returns:
        The blueprint, which is safe to run: every edge and reference leads to a node, every field has its type.

    Raises:
        BlueprintError: the first problem found; :func:`find_problems` gives all of them.

    Example:
        >>> parse_blueprint({"id": "hello", "nodes": [{"id": "greet", "uses": "say"}]}).by_id["greet"].uses
        'say'
    """
    blueprint, problems = _read(document, default_id, check_expression)
    if problems:
        raise problems[0]
    return blueprint


def find_problems(
    document: object, *, default_id: str | None = None, check_expression: CheckExpression | None = None
) -> list[BlueprintError]:
    """Everything :func:`parse_blueprint` would refuse in this document, in the order it is found.

    Args:
        document: see :func:`parse_blueprint`.
        default_id: see :func:`parse_blueprint`.
        check_expression: see :func:`parse_blueprint`.

    Example:
        >>> [str(problem) for problem in find_problems({"id": "x", "nodes": [{"id": "a"}]})]
        ["blueprint 'x', node 'a', field 'uses': is missing"]
    """
    return _read(document, default_id, check_expression)[1]


def load_document(path: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> object:
    """Read and decode a JSON file, without looking at what it says.

    Args:
        path: the file; UTF-8, a byte order mark is allowed.
        max_bytes: the most bytes the file may have; of a larger one no more than that is read.

    Raises:
        BlueprintUnreadable: the file cannot be read.
        BlueprintError: it is not UTF-8 or not JSON. The file's name stands for the blueprint's id.
        SizeLimitExceeded: the file is larger than ``max_bytes``.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            data = file.read(max_bytes + 1) if size <= max_bytes else b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BlueprintUnreadable(f"file '{path}' cannot be read: {reason}", blueprint_id=path.stem) from None
    if max(size, len(data)) > max_bytes:
        found = size if size > max_bytes else f"more than {max_bytes}"
        advice = "Keep data out of blueprints, or split it into sub-flows."
        raise SizeLimitExceeded(what=f"blueprint file '{path}'", size=found, limit=max_bytes, advice=advice)
    try:
        # utf-8-sig: editors on Windows put a byte order mark at the start.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refuse_file(path, f"is not UTF-8 text (byte {error.start})") from None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise _refuse_file(path, reason) from None


def read_blueprint(
    path: str | Path, *, max_bytes: int = MAX_FILE_BYTES, check_expression: CheckExpression | None = None
) -> Blueprint:
    """Read a blueprint file; one without ``id`` takes the file's name without its ending.

    Args:
        path: a JSON file.
        max_bytes: see :func:`load_document`.
        check_expression: see :func:`parse_blueprint`.

    Raises:
        BlueprintError: see :func:`load_document` and :func:`parse_blueprint`.
        SizeLimitExceeded: the file is larger than ``max_bytes``.
    """
    document = load_document(path, max_bytes=max_bytes)
    return parse_blueprint(document, default_id=Path(path).stem, check_expression=check_expression)


def read_blueprints(
    path: str | Path, *, max_bytes: int = MAX_FILE_BYTES, check_expression: CheckExpression | None = None
) -> dict[str, Blueprint]:
    """Read one blueprint file, or all ``*.json`` files in a folder and the folders in it.

    Args:
        path: file or folder. Names that start with a point are passed over.
        max_bytes: see :func:`load_document`, for each file.
        check_expression: see :func:`parse_blueprint`.

    Returns:
        Blueprints by id, in the order of their paths.

    Raises:
        BlueprintError: a file is refused, two have the same id, or the folder has none.
        SizeLimitExceeded: a file is larger than ``max_bytes``.
    """
    path = Path(path)
    blueprints: dict[str, Blueprint] = {}
    origins: dict[str, Path] = {}
    for file in _list_files(path) if path.is_dir() else [path]:
        blueprint = read_blueprint(file, max_bytes=max_bytes, check_expression=check_expression)
        if blueprint.id in blueprints:
            reason = f"is defined twice, in '{origins[blueprint.id]}' and '{file}'"
            raise BlueprintError(reason, blueprint_id=blueprint.id, field="id")
        blueprints[blueprint.id], origins[blueprint.id] = blueprint, file
    if not blueprints:
        raise _refuse_file(path, "has no .json file in it")
    return blueprints


def _list_files(folder: Path) -> list[Path]:
    found = (file for file in folder.rglob("*.json") if file.is_file())
    return sorted(file for file in found if not any(p.startswith(".") for p in file.relative_to(folder).parts))


def _refuse_file(path: Path, reason: str) -> BlueprintError:
    return BlueprintError(f"file '{path}' {reason}", blueprint_id=path.stem)


def _read(
    document: object, default_id: str | None, check_expression: CheckExpression | None
) -> tuple[Blueprint, list[BlueprintError]]:
    place = Place(blueprint_id=default_id or "?", check_expression=check_expression)
    if not isinstance(document, Mapping):
        place.refuse(None, f"must be an object, not {describe(document)}")
        return Blueprint(id="?", nodes=()), place.problems
    blueprint_id = _read_id(place, document, default_id)
    place = Place(place.problems, blueprint_id=blueprint_id, check_expression=check_expression)
    nodes: list[NodeSpec] = []
    edges: list[EdgeSpec] = []
    if document.get("nodes") is None:
        place.refuse("nodes", "is missing")
    for index, item in enumerate(_read_items(place, document, "nodes", MAX_NODES)):
        node = read_node(place, index, item)
        if node is not None:
            nodes.append(node)
    for index, item in enumerate(_read_items(place, document, "edges", MAX_EDGES)):
        edge = read_edge(place, index, item)
        if edge is not None:
            edges.append(edge)
    blueprint = Blueprint(blueprint_id, tuple(nodes), tuple(edges), _read_metadata(place, document))
    _check_references(place, blueprint)
    return blueprint, place.problems


def _read_id(place: Place, document: Mapping[str, object], default_id: str | None) -> str:
    own = number_as_text(document.get("id"))
    own = default_id if own is None or own == "" else own
    return place.read_name({"id": own}, "id") or default_id or "?"


def _read_items(place: Place, document: Mapping[str, object], name: str, limit: int) -> Iterable[object]:
    value = document.get(name)
    if value is None:
        return ()
    if not isinstance(value, (Mapping, list, tuple)):
        place.refuse(name, f"must be a list or an object, not {describe(value)}")
        return ()
    if len(value) > limit:
        place.refuse(name, f"has {len(value)} entries; the limit is {limit}")
        return ()
    return [value[key] for key in _order_keys(value)] if isinstance(value, Mapping) else value


def _order_keys(owner: Mapping[Any, object]) -> list[Any]:
    """Keys as JavaScript lists them: whole numbers first, by size, then the others as they were set."""

    def is_index(key: object) -> bool:
        if not isinstance(key, str) or not key.isascii() or not key.isdigit() or len(key) > 10:
            return False
        return (key == "0" or key[0] != "0") and int(key) < 2**32 - 1

    return sorted(filter(is_index, owner), key=int) + [key for key in owner if not is_index(key)]


def _read_metadata(place: Place, document: Mapping[str, object]) -> dict[str, Any]:
    metadata = place.read_object(document, "metadata")
    version = metadata.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, (str, int, float))):
        place.refuse("metadata.version", f"must be text or a number, not {describe(version)}")
    entries = metadata.get("cycleEntryPoints")
    if entries is not None and not (isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)):
        place.refuse("metadata.cycleEntryPoints", "must be a list of node ids")
    return metadata


def _check_references(place: Place, blueprint: Blueprint) -> None:
    positions: dict[str, int] = {}
    for index, node in enumerate(blueprint.nodes):
        first = positions.setdefault(node.id, index)
        if first != index:
            place.at(node_id=node.id).refuse("id", "is used by an earlier node too")
    circular = _find_circular_fallbacks(blueprint)
    for node in blueprint.nodes:
        here = place.at(node_id=node.id)
        fallback, gather = node.config.fallback, node.params.get("gatherNodeId")
        if fallback is not None and fallback not in positions:
            here.refuse("config.fallback", f"there is no node '{shorten(fallback)}'")
        elif node.id in circular:
            here.refuse("config.fallback", "a node cannot be its own fallback, not even by way of others")
        if node.kind == "batch-scatter" and isinstance(gather, str) and gather and gather not in positions:
            here.refuse("params.gatherNodeId", f"there is no node '{shorten(gather)}'")
    for index, edge in enumerate(blueprint.edges):
        here = place.at(edge=name_edge(edge.source, edge.target), prefix=f"edges[{index}].")
        for name, node_id in (("source", edge.source), ("target", edge.target)):
            if node_id not in positions:
                here.refuse(name, f"there is no node '{shorten(node_id)}'")
    continued = {edge.source for edge in blueprint.edges if edge.action == "continue"}
    for node in blueprint.nodes:
        if node.kind == "loop-controller" and node.id not in continued:
            place.at(node_id=node.id).refuse(None, "a loop needs an edge with action 'continue' to its first node")


def _find_circular_fallbacks(blueprint: Blueprint) -> set[str]:
    """Nodes that following ``fallback`` leads back to."""
    circular: set[str] = set()
    seen: set[str] = set()
    for node in blueprint.nodes:
        trail: dict[str, int] = {}
        current: str | None = node.id
        while current is not None and current in blueprint.by_id and current not in seen and current not in trail:
            trail[current] = len(trail)
            current = blueprint.by_id[current].config.fallback
        if current in trail:
            circular.update(list(trail)[trail[current] :])
        seen.update(trail)
    return circular
