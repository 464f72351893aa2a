"""From blueprints and nodes to asset specs: the only place where names for Dagster are made.

Blueprint and node ids may be any text; Dagster allows few characters in group and op names, and its UI puts asset
keys into addresses. So every name is a slug: the id itself where it is plain, otherwise a readable piece of it and a
piece of its hash. Different ids never get the same slug.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.blueprint import Blueprint, LintIssue, NodeSpec
from flowcraft_dagster.errors import one_line
from flowcraft_dagster.orchestration.labels import BLUEPRINT_ID, NODE_ID

KEY_PREFIX: Final = "flowcraft"
GROUP: Final = "flowcraft"
RUNTIME_GROUP: Final = "flowcraft_runtime"
RUNTIME_NAMES: Final = ("servers", "workers", "job_queue", "waiting_runs", "reconciliation", "run_requests")
"""Assets of the runtime's own; no blueprint gets their keys."""
LONGEST_SLUG: Final = 60
HASH_DIGITS: Final = 10
MOST_LINT_FINDINGS: Final = 50
FRESHNESS: Final = "freshness"
"""Key of a blueprint's metadata: for how long its latest completed run counts as fresh."""
SHORTEST: Final = 60
LONGEST: Final = 10 * 365 * 86_400
"""Seconds that a freshness policy may have."""
CODE_REFERENCES: Final = "dagster/code_references"
"""Dagster's own key."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*")
"""Ids that need no hash. Dashes and underlines stand alone, so that two underlines can stand for a dash."""
_HASHED: Final = re.compile(rf"[-_][0-9a-f]{{{HASH_DIGITS}}}$")
_BACKTICKS: Final = re.compile("`+")
_MARKUP: Final = re.compile(r"[\\`*_\[\]<>&~|!]")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,7}")


@dataclass(frozen=True)
class CodePlace:
    """Where code stands.

    Attributes:
        path: the file.
        line: the line, from 1.
    """

    path: str
    line: int

    def to_metadata(self) -> dg.CodeReferencesMetadataValue:
        """What Dagster shows as a link to the code."""
        with warnings.catch_warnings():
            # The only way to name a place in the code; Dagster says for each that this may change.
            warnings.simplefilter("ignore")
            place = dg.LocalFileCodeReference(file_path=self.path, line_number=self.line)
            return dg.CodeReferencesMetadataValue(code_references=[place])


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
        code: where its function stands.
        sub_blueprint: asset key of the blueprint that it runs as a sub-flow; None where it runs none that is shown.
    """

    blueprint: Blueprint
    node: NodeSpec
    sources: Sequence[str] = ()
    back_edges: Sequence[str] = ()
    code: CodePlace | None = None
    sub_blueprint: dg.AssetKey | None = None


FlowcraftProps = FlowcraftBlueprintProps | FlowcraftNodeProps


class FlowcraftDagsterTranslator:
    """Describes blueprints and nodes as assets. Subclass it to rename, group or own them differently.

    Example:
        >>> class Translator(FlowcraftDagsterTranslator):
        ...     def get_asset_spec(self, props):
        ...         return super().get_asset_spec(props).merge_attributes(tags={"domain": "content"})
    """

    def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
        """The asset that stands for a blueprint's runs, or for one of its nodes.

        Args:
            props: the blueprint or the node, and what is known of it.

        Returns:
            A spec whose key differs from that of every other blueprint and node. The ``deps`` of a node name its
            sources by their default keys; those that this method gives another key are put in place afterwards.
        """
        return _describe_node(props) if isinstance(props, FlowcraftNodeProps) else _describe_blueprint(props)


def make_blueprint_key(blueprint_id: str) -> dg.AssetKey:
    """The default asset key of a blueprint's runs."""
    return dg.AssetKey([KEY_PREFIX, make_slug(blueprint_id, "-")])


def make_node_key(blueprint_id: str, node_id: str) -> dg.AssetKey:
    """The default asset key of a node."""
    return dg.AssetKey([KEY_PREFIX, make_slug(blueprint_id, "-"), "nodes", make_slug(node_id, "-")])


def make_runtime_key(name: str) -> dg.AssetKey:
    """The asset key of something of the runtime's own, one of ``RUNTIME_NAMES``; never that of a blueprint."""
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


def make_freshness(given: Any) -> dg.FreshnessPolicy | None:
    """A freshness policy from a blueprint's metadata; None where there is none that can be used.

    Args:
        given: ``{"failAfterSeconds": 3600, "warnAfterSeconds": 1800}``; the second is optional and less than the first.
    """
    if not isinstance(given, Mapping):
        return None
    windows = [given.get("failAfterSeconds"), given.get("warnAfterSeconds")]
    fail, warn = (
        timedelta(seconds=window) if isinstance(window, (int, float)) and SHORTEST <= window <= LONGEST else None
        for window in windows
    )
    if fail is None or (warn is not None and warn >= fail):
        return None
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)


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


def _describe_blueprint(props: FlowcraftBlueprintProps) -> dg.AssetSpec:
    blueprint = props.blueprint
    return dg.AssetSpec(
        key=make_blueprint_key(blueprint.id),
        description=_write_description(props),
        group_name=GROUP,
        kinds={"flowcraft"},
        owners=make_owners(blueprint.metadata.get("owners")) or None,
        code_version=blueprint.content_hash,
        freshness_policy=make_freshness(blueprint.metadata.get(FRESHNESS)),
        metadata={
            BLUEPRINT_ID: blueprint.id,
            "nodes": len(blueprint.nodes),
            "edges": len(blueprint.edges),
            **({"version": blueprint.version} if blueprint.version else {}),
            **({"lint": dg.MetadataValue.md(_list_findings(props.lint))} if props.lint else {}),
        },
    )


def _describe_node(props: FlowcraftNodeProps) -> dg.AssetSpec:
    blueprint, node = props.blueprint, props.node
    return dg.AssetSpec(
        key=make_node_key(blueprint.id, node.id),
        description=f"Node {_write_code(node.id)} of blueprint {_write_code(blueprint.id)}.",
        group_name=f"{GROUP}_nodes_{make_slug(blueprint.id, '_')}",
        kinds={"flowcraft", make_slug(node.uses, "-")[:40].lower()},
        owners=make_owners(blueprint.metadata.get("owners")) or None,
        deps=[make_node_key(blueprint.id, source) for source in props.sources],
        metadata={
            BLUEPRINT_ID: blueprint.id,
            NODE_ID: node.id,
            "uses": node.uses,
            **({"leads_back_from": list(props.back_edges)} if props.back_edges else {}),
            **(
                {"sub_blueprint": dg.MetadataValue.asset(props.sub_blueprint)}
                if props.sub_blueprint is not None
                else {}
            ),
            **({CODE_REFERENCES: props.code.to_metadata()} if props.code is not None else {}),
        },
    )


def _write_description(props: FlowcraftBlueprintProps) -> str:
    metadata: Mapping[str, Any] = props.blueprint.metadata
    # The catalogue shows the beginning as plain text, so there is no markup in it.
    title, description = (
        text.strip() if isinstance(text, str) else "" for text in map(metadata.get, ("title", "description"))
    )
    sentence = one_line(title) + ("." if title and title[-1] not in ".!?" else "")
    parts = [" ".join(part for part in (sentence, description) if part)]
    parts.append(f"Runs of the blueprint {_write_code(props.blueprint.id)}. *Materialize* starts one and records it.")
    return "\n\n".join(part for part in (*parts, props.picture) if part)


def _list_findings(findings: Sequence[LintIssue]) -> str:
    lines = [f"- **{issue.severity}** {issue.code}: {_escape_markup(issue.message)} {issue.hint}" for issue in findings]
    more = len(lines) - MOST_LINT_FINDINGS
    return "\n".join([*lines[:MOST_LINT_FINDINGS], *([f"- and {more} more"] if more > 0 else [])])


def _write_code(text: str) -> str:
    """Text as code in markdown: an id with backticks in it does not end its quotes."""
    shown = one_line(text)
    quotes = "`" * (1 + max(map(len, _BACKTICKS.findall(shown)), default=0))
    return f"{quotes} {shown} {quotes}" if len(quotes) > 1 else f"`{shown}`"


def _escape_markup(text: str) -> str:
    """Text as it is in markdown: ids and expressions have stars, brackets and underscores in them."""
    return _MARKUP.sub(r"\\\g<0>", text)
