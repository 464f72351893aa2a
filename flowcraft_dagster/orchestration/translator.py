"""From blueprints and nodes to asset specs: the only place where names for Dagster are made.

Blueprint and node ids may be any text; Dagster allows few characters in group and op names, and its UI puts asset
keys into addresses. So every name is a slug: the id itself where it is plain, otherwise a readable piece of it and a
piece of its hash. Different ids never get the same slug.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.blueprint import Blueprint, LintIssue, NodeSpec
from flowcraft_dagster.errors import one_line
from flowcraft_dagster.orchestration.labels import BLUEPRINT_ID, NODE_ID

KEY_PREFIX: Final = "flowcraft"
GROUP: Final = "flowcraft"
RUNTIME_GROUP: Final = "flowcraft_runtime"
LONGEST_SLUG: Final = 60
HASH_DIGITS: Final = 10
MOST_LINT_FINDINGS: Final = 50

_PLAIN: Final = re.compile(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*")
"""Ids that need no hash. Dashes and underlines stand alone, so that two underlines can stand for a dash."""
_HASHED: Final = re.compile(rf"[-_][0-9a-f]{{{HASH_DIGITS}}}$")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,7}")


@dataclass(frozen=True)
class FlowcraftBlueprintProps:
    """What is known of a blueprint when its asset is described.

    Attributes:
        blueprint: the blueprint.
        lint: what the linter found.
        picture: markdown that shows its diagram; empty where it is too large to draw.
    """

    blueprint: Blueprint
    lint: Sequence[LintIssue] = ()
    picture: str = ""


@dataclass(frozen=True)
class FlowcraftNodeProps:
    """What is known of a node when its asset is described.

    Attributes:
        blueprint: the blueprint it belongs to.
        node: the node.
        sources: ids of the nodes whose edges lead to it, without those that lead back.
        back_edges: ids of the nodes whose edges lead back to it; an asset graph has no cycles.
    """

    blueprint: Blueprint
    node: NodeSpec
    sources: Sequence[str] = ()
    back_edges: Sequence[str] = ()


class FlowcraftDagsterTranslator:
    """Describes blueprints and nodes as assets. Subclass it to rename, group or own them differently.

    Example:
        >>> class Translator(FlowcraftDagsterTranslator):
        ...     def get_asset_spec(self, props):
        ...         return super().get_asset_spec(props).merge_attributes(tags={"domain": "content"})
    """

    def get_asset_spec(self, props: FlowcraftBlueprintProps) -> dg.AssetSpec:
        """The asset that stands for a blueprint's runs.

        Args:
            props: the blueprint and what is known of it.

        Returns:
            A spec whose key differs from that of every other blueprint.
        """
        blueprint = props.blueprint
        return dg.AssetSpec(
            key=make_blueprint_key(blueprint.id),
            description=_describe_blueprint(props),
            group_name=GROUP,
            kinds={"flowcraft"},
            owners=make_owners(blueprint.metadata.get("owners")) or None,
            code_version=blueprint.content_hash,
            metadata={
                BLUEPRINT_ID: blueprint.id,
                "nodes": len(blueprint.nodes),
                "edges": len(blueprint.edges),
                **({"version": blueprint.version} if blueprint.version else {}),
                **({"lint": dg.MetadataValue.md(_list_findings(props.lint))} if props.lint else {}),
            },
        )

    def get_node_spec(self, props: FlowcraftNodeProps) -> dg.AssetSpec:
        """The external asset that stands for one node of a blueprint.

        Args:
            props: the node and its neighbours.

        Returns:
            A spec whose key differs from that of every other node; its ``deps`` have no cycle.
        """
        blueprint, node = props.blueprint, props.node
        return dg.AssetSpec(
            key=make_node_key(blueprint.id, node.id),
            description=f"Node `{one_line(node.id)}` of blueprint `{one_line(blueprint.id)}`.",
            group_name=f"{GROUP}_nodes_{make_slug(blueprint.id, '_')}",
            kinds={"flowcraft", make_slug(node.uses, "-")[:40].lower()},
            owners=make_owners(blueprint.metadata.get("owners")) or None,
            deps=[make_node_key(blueprint.id, source) for source in props.sources],
            metadata={
                BLUEPRINT_ID: blueprint.id,
                NODE_ID: node.id,
                "uses": node.uses,
                **({"leads_back_from": list(props.back_edges)} if props.back_edges else {}),
                **_link_subflow(node),
            },
        )


def make_blueprint_key(blueprint_id: str) -> dg.AssetKey:
    """The default asset key of a blueprint's runs."""
    return dg.AssetKey([KEY_PREFIX, make_slug(blueprint_id, "-")])


def make_node_key(blueprint_id: str, node_id: str) -> dg.AssetKey:
    """The default asset key of a node."""
    return dg.AssetKey([KEY_PREFIX, make_slug(blueprint_id, "-"), "nodes", make_slug(node_id, "-")])


def make_runtime_key(name: str) -> dg.AssetKey:
    """The asset key of something of the runtime's own, for example ``reconciliation``; never that of a blueprint."""
    return dg.AssetKey([KEY_PREFIX, "runtime", name])


def make_op_name(kind: str, blueprint_id: str) -> str:
    """A name for an op of a blueprint: ``kind`` and the blueprint's slug."""
    return f"{kind}__{make_slug(blueprint_id, '_')}"


def make_slug(text: str, separator: str) -> str:
    """A name of ASCII letters, digits, ``_`` and ``separator``, at most 80 characters, distinct for distinct texts.

    Args:
        text: any text that is not empty.
        separator: ``-`` or ``_``; stands before the piece of the hash. Where it is ``_``, a single dash becomes two
            underlines.

    Example:
        >>> make_slug("content-moderation", "-"), make_slug("content-moderation", "_")
        ('content-moderation', 'content__moderation')
        >>> make_slug("Grüße / an alle", "-")
        'Grue_an_alle-86dac0ff2c'
    """
    # A plain id that looks as if it had a hash gets one too: otherwise it could equal another id's slug.
    if len(text) <= LONGEST_SLUG and _PLAIN.fullmatch(text) and not _HASHED.search(text):
        return text.replace("-", "__") if separator == "_" else text
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    slug = re.sub(r"[^A-Za-z0-9]+", "_", ascii_text)[:LONGEST_SLUG].strip("_")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug or 'id'}{separator}{digest[:HASH_DIGITS]}"


def make_owners(given: Any) -> list[str]:
    """Owners as Dagster takes them: e-mail addresses as they are, everything else as teams.

    Args:
        given: text or a list of texts, for example ``metadata.owners`` of a blueprint; anything else counts as none.

    Example:
        >>> make_owners(["ann@example.org", "Trust & Safety"])
        ['ann@example.org', 'team:Trust_Safety_5b9c374d59']
    """
    names: Iterable[Any] = [given] if isinstance(given, str) else given if isinstance(given, (list, tuple)) else ()
    owners = []
    for name in names:
        if isinstance(name, str) and name:
            is_email = _EMAIL.fullmatch(name) is not None
            owners.append(name if is_email else f"team:{make_slug(name.removeprefix('team:') or name, '_')}")
    return list(dict.fromkeys(owners))


def _describe_blueprint(props: FlowcraftBlueprintProps) -> str:
    metadata: Mapping[str, Any] = props.blueprint.metadata
    title = metadata.get("title")
    parts = [f"**{one_line(title)}**" if isinstance(title, str) and title else ""]
    description = metadata.get("description")
    parts.append(description if isinstance(description, str) else "")
    parts.append(f"Runs of the blueprint `{one_line(props.blueprint.id)}`. *Materialize* starts one and records it.")
    return "\n\n".join(part for part in (*parts, props.picture) if part)


def _list_findings(findings: Sequence[LintIssue]) -> str:
    lines = [f"- **{issue.severity}** {issue.code}: {issue.message} {issue.hint}" for issue in findings]
    more = len(lines) - MOST_LINT_FINDINGS
    return "\n".join([*lines[:MOST_LINT_FINDINGS], *([f"- and {more} more"] if more > 0 else [])])


def _link_subflow(node: NodeSpec) -> dict[str, Any]:
    child = node.params.get("blueprintId") if node.kind == "subflow" else None
    return {"sub_blueprint": dg.MetadataValue.asset(make_blueprint_key(child))} if isinstance(child, str) else {}
